"""Domain errors become statuses: code, message, details; what was not foreseen shows nothing."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from sardonyx_server import errors
from sardonyx_server.rpc.status import CODES, DETAILS_KEY, PUSHBACK_KEY, Status, to_status

EXPECTED = {
    "ServerError": "INTERNAL",
    "CallerError": "INVALID_ARGUMENT",
    "InvalidRequest": "INVALID_ARGUMENT",
    "NotFound": "NOT_FOUND",
    "AlreadyExists": "ALREADY_EXISTS",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "Cancelled": "CANCELLED",
    "MessageTooLarge": "RESOURCE_EXHAUSTED",
    "Unauthenticated": "UNAUTHENTICATED",
    "Forbidden": "PERMISSION_DENIED",
    "TryLater": "UNAVAILABLE",
    "ModelUnavailable": "UNAVAILABLE",
    "Overloaded": "UNAVAILABLE",
    "QueueBytesFull": "UNAVAILABLE",
    "QueueTimeout": "UNAVAILABLE",
    "QueueTooLong": "UNAVAILABLE",
    "ShuttingDown": "UNAVAILABLE",
    "Unsupported": "UNIMPLEMENTED",
    "ExecutionFailed": "INTERNAL",
    "LoadFailed": "FAILED_PRECONDITION",
    "CannotListen": "FAILED_PRECONDITION",
    "SettingsError": "FAILED_PRECONDITION",
}


def details(status: Status) -> RpcStatus:
    """The google.rpc.Status that is sent."""
    return RpcStatus.FromString(dict(status.trailing)[DETAILS_KEY])


def detail(status: Status, kind: type) -> Any:
    """The detail of one kind."""
    found = kind()
    assert any(packed.Unpack(found) for packed in details(status).details), f"no {kind.__name__}"
    return found


def kinds(status: Status) -> list[str]:
    """Names of the details that are sent."""
    return [packed.TypeName() for packed in details(status).details]


def test_the_table_has_every_class_of_error_and_no_other() -> None:
    """A new class of error must be given a status."""
    assert {kind.__name__ for kind in CODES} == set(errors.__all__)
    assert set(EXPECTED) == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_its_code_and_shows_its_message_and_reason(name: str) -> None:
    """Code, message and ErrorInfo for each class."""
    kind = getattr(errors, name)
    status = to_status(kind("model 'm': no"))
    assert status.code == grpc.StatusCode[EXPECTED[name]].value[0]
    assert status.message == "model 'm': no"
    assert (details(status).code, details(status).message) == (status.code, status.message)
    assert detail(status, ErrorInfo) == ErrorInfo(reason=kind.reason, domain="sardonyx")
    assert kinds(status) == ["google.rpc.ErrorInfo"]
    assert [key for key, _ in status.trailing] == [DETAILS_KEY]


def test_a_subclass_made_elsewhere_has_the_code_of_its_base() -> None:
    """The nearest base in the table counts."""

    class QueueFull(errors.Overloaded):
        pass

    assert to_status(QueueFull("full")).code == grpc.StatusCode.UNAVAILABLE.value[0]


def test_a_reason_of_the_instance_is_shown() -> None:
    """The raiser may be more exact than the class."""
    status = to_status(errors.NotFound("no", reason="MODEL_NOT_FOUND"))
    assert detail(status, ErrorInfo).reason == "MODEL_NOT_FOUND"


def test_an_invalid_field_is_named() -> None:
    """BadRequest carries the path of the field."""
    status = to_status(errors.InvalidRequest("rank 3", field="inputs[0].shape"))
    violation = BadRequest.FieldViolation(field="inputs[0].shape", description="rank 3")
    assert detail(status, BadRequest) == BadRequest(field_violations=[violation])


def test_what_was_expected_and_what_came_is_told_to_programs() -> None:
    """Short, whatever the caller sent; nothing where it is no single thing."""
    status = to_status(errors.InvalidRequest("no", expected="FP32 [-1,4]", got="x" * 1000))
    info = detail(status, ErrorInfo).metadata
    assert info["expected"] == "FP32 [-1,4]"
    assert len(info["got"]) == 256
    assert dict(detail(to_status(errors.InvalidRequest("no", expected="a")), ErrorInfo).metadata) == {"expected": "a"}


@pytest.mark.parametrize(
    ("retry_after_s", "pushback", "seconds", "nanos"),
    [(0.25, "250", 0, 250_000_000), (2.5, "2500", 2, 500_000_000), (0.0001, "1", 0, 1_000_000), (-1.0, "0", 0, 0)],
)
def test_a_delay_is_sent_for_callers_and_for_grpc_itself(
    retry_after_s: float, pushback: str, seconds: int, nanos: int
) -> None:
    """RetryInfo and grpc-retry-pushback-ms agree, rounded up to milliseconds."""
    status = to_status(errors.Overloaded("full", retry_after_s=retry_after_s))
    assert dict(status.trailing)[PUSHBACK_KEY] == pushback
    delay = detail(status, RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (seconds, nanos)


def test_the_unforeseen_is_logged_under_an_id_and_shows_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor class of the exception leaves the server."""
    with caplog.at_level(logging.ERROR, "sardonyx.rpc"):
        status = to_status(ValueError("secret /srv/models/m"))
    (record,) = caplog.records
    error_id = vars(record)["error_id"]
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert status.message == f"internal error; quote error id {error_id} to the operator"
    assert detail(status, ErrorInfo) == ErrorInfo(reason="INTERNAL", domain="sardonyx", metadata={"error_id": error_id})
    assert len(error_id) == 16
    assert record.getMessage() == f"unforeseen error, the caller sees error id {error_id}"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    sent = dict(status.trailing)[DETAILS_KEY]
    assert b"secret" not in sent
    assert b"ValueError" not in sent


def test_that_memory_is_short_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is no bug, and a caller can ask for less; where it was short is for the log."""
    status = to_status(MemoryError("/secret/place"))
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert status.message == "not enough memory for the request or its answer; ask for less at a time, or later"
    assert "/secret/place" in caplog.text


def test_ids_of_errors_differ() -> None:
    """Two failures are two log lines."""
    assert to_status(ValueError()).message != to_status(ValueError()).message


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600", "\x00", "\ud800"])
def test_a_status_fits_into_the_metadata_that_peers_accept(letter: str) -> None:
    """8 KiB hold the percent-encoded message and the details in base64, whatever a caller put into it."""
    error = errors.InvalidRequest(letter * 1_000_000, field=letter * 1_000_000, reason="R" * 1000)
    status = to_status(error)
    encoded = sum(1 if byte in range(0x20, 0x7F) else 3 for byte in status.message.encode())
    assert encoded + len(dict(status.trailing)[DETAILS_KEY]) * 4 / 3 < 7000
    assert status.message.isprintable()


def test_a_message_is_one_line() -> None:
    """Line ends and escape sequences are shown, not sent."""
    assert to_status(errors.NotFound("a\nb\x1b[2J")).message == "a\\nb\\x1b[2J"


def test_a_delay_of_no_length_is_not_sent() -> None:
    """Where the server cannot tell, it says nothing."""
    status = to_status(errors.ModelUnavailable("failed"))
    assert PUSHBACK_KEY not in dict(status.trailing)
    assert "google.rpc.RetryInfo" not in kinds(status)
