"""The client's errors, grouped by who can act, and the one place where errors of grpcio are translated to them.

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

from sardonyx_client._error_details import NO_ERROR_DETAILS, parse_error_details

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_client._error_details import ErrorDetails

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
# grpcio's message when the deadline passes on this side; it names neither the call nor the timeout.
_LOCAL_TIMEOUT: Final = "Deadline Exceeded"
# Messages of gRPC's core for a missing connection begin with one of these; the cause is somewhere after it.
# The texts that replace it are those of the HTTP/2 transport.
_NO_CONNECTION: Final = ("connections to all backends failing", "failed to connect to all addresses")
_CAUSES: Final = {
    "Connection refused": "Connection refused",
    "Trying to connect an http1.x server": "the server does not speak HTTP/2 without TLS: is this its gRPC port?",
}


class ClientError(Exception):
    """Base of every error that the client raises on purpose.

    Attributes:
        message: One line.
        code: gRPC status; None = the error occurred before a request was sent, or after the response.
        reason: Stable and machine-readable, such as ``MODEL_UNAVAILABLE``; "" if the server sent none.
        info: More from the server, such as an error id.
        field: Path of the invalid field of the request, such as ``inputs[0].shape``; "" if the server named none.
        expected: What was expected, such as ``FP32 [-1,4]``; "" if that is not a single thing.
        got: What was found instead, such as ``FP64 [1,4]``; "" likewise.
        retry_after_s: Seconds after which the server suggests to retry; None if it suggests nothing.
        request_id: Id of the inference request that failed; "" if it had none.
    """

    def __init__(
        self, message: str, *, code: grpc.StatusCode | None = None, details: ErrorDetails = NO_ERROR_DETAILS
    ) -> None:
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
    """A copy of an error for another caller: callers that share one exception object would mix their tracebacks."""
    copied = type(error)(error.message, code=error.code)
    copied.__dict__.update(error.__dict__)
    copied.request_id = request_id
    copied.__cause__ = error.__cause__
    return copied


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


# Every status but OK; a test checks that none is missing.
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
    """Error of grpcio or of the HTTP/2 transport -> ClientError, with google.rpc error details if the server sent them.

    Args:
        error: What the call raised.
        call: RPC and address, for the message.
        timeout_s: The call's timeout; None = no limit.
    """
    if not isinstance(error, grpc.RpcError):
        return Cancelled(f"{call} was cancelled")
    call_state: Any = error  # an error of a call is also a grpc.Call, which the type stubs do not say
    code: grpc.StatusCode = call_state.code()
    details = NO_ERROR_DETAILS
    for key, value in call_state.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            details = parse_error_details(value)
    message = call_state.details() or f"{call} ended with {code.name} and no text"
    if message == _LOCAL_TIMEOUT and timeout_s is not None:
        message = f"{call} gave no answer within {timeout_s:g} s"
    elif message.startswith(_NO_CONNECTION):
        cause = next((words for mark, words in _CAUSES.items() if mark in message), None)
        message = message if cause is None else f"no connection for {call}: {cause}"
    return ERRORS.get(code, ServerFault)(message, code=code, details=details)
