"""Errors of the client: each status has a class, and google.rpc details are read without google.rpc packages."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from hypothesis import given
from hypothesis import strategies as st

import sardonyx_client
from sardonyx_client import ClientError, ServerFault, Unavailable
from sardonyx_client._error_details import NO_ERROR_DETAILS, parse_error_details
from sardonyx_client._errors import ERRORS, translate


class FailedCall(grpc.RpcError):
    """What grpc raises, with what the client reads of it."""

    def __init__(
        self, code: grpc.StatusCode, text: str = "", trailing: tuple[tuple[str, str | bytes], ...] = ()
    ) -> None:
        self._values = code, text, trailing

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._values[0]

    def details(self) -> str:
        """The text."""
        return self._values[1]

    def trailing_metadata(self) -> Any:
        """What came behind the status."""
        return self._values[2]


def code_of_number(number: int) -> grpc.StatusCode:
    """A status by its number on the wire."""
    return next(code for code in grpc.StatusCode if code.value[0] == number)


INFO = {"error_id": "e1", "model": "m", "expected": "FP32 [-1,4]", "got": "FP64 [1,4]"}


def full_status() -> bytes:
    """ErrorDetails as our server sends them, written by Google's own classes."""
    details = pytest.importorskip("google.rpc.error_details_pb2")
    status_pb2 = pytest.importorskip("google.rpc.status_pb2")
    status = status_pb2.Status(code=3, message="no")
    violation = details.BadRequest.FieldViolation(field="inputs[0].shape", description="no")
    for detail in (
        details.Help(),
        details.ErrorInfo(reason="MODEL_UNAVAILABLE", domain="sardonyx", metadata=INFO),
        details.BadRequest(field_violations=[violation, details.BadRequest.FieldViolation(field="later")]),
        details.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)),
    ):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    encoded: bytes = status.SerializeToString()
    return encoded


class TestTree:
    """One class for each kind of failure."""

    def test_every_status_but_ok_has_a_class(self) -> None:
        """A new status of grpc fails here first."""
        assert set(ERRORS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}

    def test_every_class_is_public_and_derives_from_one_base(self) -> None:
        """So that one except clause catches all."""
        for kind in {*ERRORS.values(), sardonyx_client.BadResponse}:
            assert issubclass(kind, ClientError)
            assert getattr(sardonyx_client, kind.__name__) is kind

    def test_all_that_is_promised_exists(self) -> None:
        """The public names of the package, also those that are imported when they are asked for."""
        assert all(hasattr(sardonyx_client, name) for name in sardonyx_client.__all__)


class TestTranslate:
    """grpc's errors become ours in one place."""

    @pytest.mark.parametrize("code", sorted(ERRORS, key=str))
    def test_a_status_becomes_its_class_with_the_servers_text(self, code: grpc.StatusCode) -> None:
        """And keeps its code."""
        error = translate(FailedCall(code, "what was wrong"), call="ModelInfer on h:1", timeout_s=1)
        assert type(error) is ERRORS[code]
        assert (error.message, str(error), error.code) == ("what was wrong", "what was wrong", code)
        assert (error.reason, dict(error.info), error.field, error.retry_after_s) == ("", {}, "", None)
        assert (error.expected, error.got, error.request_id) == ("", "", "")

    def test_a_time_out_on_this_side_names_call_and_time(self) -> None:
        """Which grpc's own text does not."""
        failed = FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        assert str(translate(failed, call="ModelInfer on h:1", timeout_s=0.5)) == (
            "ModelInfer on h:1 gave no answer within 0.5 s"
        )

    @pytest.mark.parametrize(
        ("cause", "expected"),
        [
            ("Failed to connect to remote host: Connection refused", "Connection refused"),
            (
                "Trying to connect an http1.x server (HTTP status 404)",
                "the server does not speak HTTP/2 without TLS: is this its gRPC port?",
            ),
        ],
    )
    @pytest.mark.parametrize("core", ["connections to all backends failing", "failed to connect to all addresses"])
    def test_what_core_says_of_no_connection_is_said_as_by_the_http2_transport(
        self, core: str, cause: str, expected: str
    ) -> None:
        """The two causes that people meet: nobody listens there, or something else does."""
        failed = FailedCall(grpc.StatusCode.UNAVAILABLE, f"{core}; last error: UNKNOWN: ipv4:127.0.0.1:1: {cause}")
        error = translate(failed, call="ModelReady on h:1", timeout_s=1)
        assert str(error) == f"no connection for ModelReady on h:1: {expected}"

    @pytest.mark.parametrize("text", ["failed to connect to all addresses; last error: x", "says Connection refused"])
    def test_other_words_of_core_and_of_servers_stay(self, text: str) -> None:
        """A cause that is not known is better in core's words than not at all."""
        assert str(translate(FailedCall(grpc.StatusCode.UNAVAILABLE, text), call="c", timeout_s=1)) == text

    def test_a_status_without_text_gets_one(self) -> None:
        """An empty message helps nobody."""
        error = translate(FailedCall(grpc.StatusCode.UNKNOWN), call="ModelInfer on h:1", timeout_s=1)
        assert type(error) is ServerFault
        assert str(error) == "ModelInfer on h:1 ended with UNKNOWN and no text"

    def test_details_are_read_where_they_are_there(self) -> None:
        """Reason, info, field and advice to try again; what is unknown is skipped."""
        trailing = (("other", "x"), ("grpc-status-details-bin", full_status()))
        error = translate(FailedCall(grpc.StatusCode.UNAVAILABLE, "busy", trailing), call="c", timeout_s=1)
        assert type(error) is Unavailable
        assert (error.reason, error.field, error.retry_after_s) == ("MODEL_UNAVAILABLE", "inputs[0].shape", 2.5)
        assert (error.expected, error.got) == ("FP32 [-1,4]", "FP64 [1,4]")
        assert error.info == {"error_id": "e1", "model": "m"}


class TestDetails:
    """ErrorDetails are a courtesy: damaged ones never hide the error."""

    @given(data=st.binary(max_size=60))
    def test_no_bytes_make_it_fail(self, data: bytes) -> None:
        """Whatever a server sends."""
        parse_error_details(data)

    @given(data=st.data())
    def test_no_damage_makes_it_fail(self, data: st.DataObject) -> None:
        """Cut or changed anywhere."""
        status = bytearray(full_status())
        status[data.draw(st.integers(0, len(status) - 1))] = data.draw(st.integers(0, 255))
        parse_error_details(bytes(status[: data.draw(st.integers(0, len(status)))]))

    def test_nothing_is_no_details(self) -> None:
        """An empty trailer."""
        assert parse_error_details(b"") == NO_ERROR_DETAILS
