"""Every error of the server as callers of the client see it: the server's own statuses, read by the client."""

from __future__ import annotations

from typing import Any

import pytest

import sardonyx_client
from sardonyx_client._errors import translate
from sardonyx_server import errors
from sardonyx_server.rpc.status import to_status
from tests.client.test_errors import FailedCall, code_of_number

CLASSES = {
    "AlreadyExists": "InvalidArgument",
    "CallerError": "InvalidArgument",
    "Cancelled": "Cancelled",
    "CannotListen": "InvalidArgument",
    "DeadlineExceeded": "DeadlineExceeded",
    "ExecutionFailed": "ServerFault",
    "Forbidden": "PermissionDenied",
    "InvalidRequest": "InvalidArgument",
    "LoadFailed": "InvalidArgument",
    "MessageTooLarge": "ResourceExhausted",
    "ModelUnavailable": "Unavailable",
    "NotFound": "NotFound",
    "Overloaded": "Unavailable",
    "QueueBytesFull": "Unavailable",
    "QueueTimeout": "Unavailable",
    "QueueTooLong": "Unavailable",
    "ServerError": "ServerFault",
    "SettingsError": "InvalidArgument",
    "ShuttingDown": "Unavailable",
    "TryLater": "Unavailable",
    "Unauthenticated": "Unauthenticated",
    "Unsupported": "Unimplemented",
}


def seen(error: Exception) -> Any:
    """What a caller gets for an error of the server."""
    status = to_status(error)
    return translate(
        FailedCall(code_of_number(status.code), status.message, status.trailing), call="ModelInfer on h:1", timeout_s=1
    )


def test_the_table_has_every_error_of_the_server() -> None:
    """A new one must be looked at here."""
    assert set(CLASSES) == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_each_becomes_its_class_with_text_and_reason(name: str) -> None:
    """By who can act."""
    kind: type[errors.ServerError] = getattr(errors, name)
    error = seen(kind("model 'm': no"))
    assert type(error) is getattr(sardonyx_client, CLASSES[name])
    assert (error.message, error.reason) == ("model 'm': no", kind.reason)
    assert (error.field, error.expected, error.got, error.retry_after_s) == ("", "", "", None)


def test_a_wrong_field_says_what_was_expected_and_what_came() -> None:
    """For programs, as the message does for people."""
    wrong = errors.InvalidRequest("no", field="inputs[0].shape", expected="FP32 [-1,4]", got="FP32 [1,5]")
    error = seen(wrong)
    assert (error.field, error.expected, error.got) == ("inputs[0].shape", "FP32 [-1,4]", "FP32 [1,5]")
    assert dict(error.info) == {}


def test_advice_to_come_back_is_in_seconds() -> None:
    """Whatever kind of "later" it is."""
    for kind in (errors.TryLater, errors.ModelUnavailable, errors.Overloaded, errors.ShuttingDown):
        assert seen(kind("busy", retry_after_s=2.5)).retry_after_s == 2.5


def test_what_the_server_did_not_foresee_is_its_fault() -> None:
    """With the id that its log has."""
    error = seen(ValueError("secret"))
    assert type(error) is sardonyx_client.ServerFault
    assert "secret" not in error.message
    assert error.info["error_id"] in error.message
