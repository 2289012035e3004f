"""Errors of the client, and the one place where grpc's become ours. Each says who can act.

ClientError
|-- InvalidArgument       you: a value cannot be sent, or the server refused it
|-- ModelChanged          you: generated code does not fit the server's model any more
|-- NotFound              you: no such model or version
|-- Unauthenticated       you: no credentials, or wrong ones
|-- PermissionDenied      you: known, but not allowed
|-- Unimplemented         you: this server cannot do it
|-- DeadlineExceeded      your ``timeout_s`` was over before the answer came
|-- Cancelled             the call was cancelled
|-- ClientClosed          you: the client was closed, or made before a fork
|-- Unavailable           try later: no connection, or the server or model is not ready or is overloaded
|-- ResourceExhausted     a message is larger than a limit, or a quota is used up
|-- ServerFault           the server: it failed, or the model did
`-- BadResponse           the server: its answer breaks the protocol
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_client._details import NO_DETAILS, read_details

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_client._details import Details

__all__ = [
    "ERRORS",
    "BadResponse",
    "Cancelled",
    "ClientClosed",
    "ClientError",
    "DeadlineExceeded",
    "InvalidArgument",
    "ModelChanged",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "ServerFault",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "copy_of",
    "translate",
]

_DETAILS_KEY: Final = "grpc-status-details-bin"
# grpc's own text where the time is over on this side: it names neither the call nor the time.
_LOCAL_TIMEOUT: Final = "Deadline Exceeded"
# How grpc's core tells that there is no connection: it begins with one of these, and somewhere behind stands the cause.
# The words in their place are those of the lane.
_NO_CONNECTION: Final = ("connections to all backends failing", "failed to connect to all addresses")
_CAUSES: Final = {
    "Connection refused": "Connection refused",
    "Trying to connect an http1.x server": "the server does not speak HTTP/2 without TLS: is this its gRPC port?",
}


class ClientError(Exception):
    """Base of every error that the client raises on purpose.

    Attributes:
        message: One line.
        code: The status that came; None where the error arose before a request was sent or after the answer.
        reason: Machine readable and stable, such as ``MODEL_UNAVAILABLE``; "" where the server gave none.
        info: What the server said beside the reason, such as an error id.
        field: Path of the request's field that is wrong, such as ``inputs[0].shape``; "" where the server named none.
        expected: What should have been there, such as ``FP32 [-1,4]``; "" where it is no single thing.
        got: What was there instead, such as ``FP64 [1,4]``; "" likewise.
        retry_after_s: When the server advises to try again, in seconds from now; None where it gave no advice.
        request_id: Of the inference request that failed; "" where it had none.
    """

    def __init__(self, message: str, *, code: grpc.StatusCode | None = None, details: Details = NO_DETAILS) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason: str = details.reason
        self.info: Mapping[str, str] = details.info
        self.field: str = details.field
        self.expected: str = details.expected
        self.got: str = details.got
        self.retry_after_s: float | None = details.retry_after_s
        self.request_id = ""


def copy_of(error: ClientError, *, request_id: str) -> ClientError:
    """The same failure for another caller: one exception object for many would mix their tracebacks."""
    twin = type(error)(error.message, code=error.code)
    twin.__dict__.update(error.__dict__)
    twin.request_id = request_id
    twin.__cause__ = error.__cause__
    return twin


class InvalidArgument(ClientError):
    """A value cannot be sent, or the server refused it."""


class ModelChanged(ClientError):
    """Code was generated for another signature than the server's model has. The message says what changed."""


class NotFound(ClientError):
    """No such model or version."""


class Unauthenticated(ClientError):
    """No credentials, or wrong ones."""


class PermissionDenied(ClientError):
    """The caller is known, but may not do this."""


class Unimplemented(ClientError):
    """This server cannot do it."""


class DeadlineExceeded(ClientError):
    """The time was over before the answer came."""


class Cancelled(ClientError):
    """The call was cancelled."""


class ClientClosed(ClientError):
    """The client was closed, or belongs to another process."""


class Unavailable(ClientError):
    """No connection, or the server or the model is not ready or is overloaded. The same request may succeed later."""


class ResourceExhausted(ClientError):
    """A message is larger than a limit, or a quota is used up."""


class ServerFault(ClientError):
    """The server failed, or the model did while it ran."""


class BadResponse(ClientError):
    """The server's answer breaks the protocol."""


# Every status but OK; a test holds it complete.
ERRORS: Final[Mapping[grpc.StatusCode, type[ClientError]]] = MappingProxyType(
    {
        grpc.StatusCode.ABORTED: ServerFault,
        grpc.StatusCode.ALREADY_EXISTS: InvalidArgument,
        grpc.StatusCode.CANCELLED: Cancelled,
        grpc.StatusCode.DATA_LOSS: ServerFault,
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
        grpc.StatusCode.FAILED_PRECONDITION: InvalidArgument,
        grpc.StatusCode.INTERNAL: ServerFault,
        grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
        grpc.StatusCode.NOT_FOUND: NotFound,
        grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
        grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
        grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
        grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
        grpc.StatusCode.UNAVAILABLE: Unavailable,
        grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
        grpc.StatusCode.UNKNOWN: ServerFault,
    }
)


def translate(error: BaseException, *, call: str, timeout_s: float | None) -> ClientError:
    """A failed call -> our error, with the google.rpc details where the server sent them.

    Args:
        error: What grpc raised.
        call: The RPC and the address, for the message.
        timeout_s: The call's; None = it had none.
    """
    if not isinstance(error, grpc.RpcError):
        return Cancelled(f"{call} was cancelled")
    call_state: Any = error  # what a call raises is a grpc.Call too, which grpc's types do not say
    code: grpc.StatusCode = call_state.code()
    details = NO_DETAILS
    for key, value in call_state.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            details = read_details(value)
    message = call_state.details() or f"{call} ended with {code.name} and no text"
    if message == _LOCAL_TIMEOUT and timeout_s is not None:
        message = f"{call} gave no answer within {timeout_s:g} s"
    elif message.startswith(_NO_CONNECTION):
        cause = next((words for mark, words in _CAUSES.items() if mark in message), None)
        message = message if cause is None else f"no connection for {call}: {cause}"
    return ERRORS.get(code, ServerFault)(message, code=code, details=details)
