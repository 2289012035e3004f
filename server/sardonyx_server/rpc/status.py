"""Maps domain errors to gRPC statuses with ``google.rpc`` details. Only :func:`abort` sends one.

    error --> code, message, trailing metadata:
                grpc-status-details-bin   google.rpc.Status: ErrorInfo, with the expected and the actual value in
                                          its metadata; BadRequest for a field, RetryInfo for a delay
                grpc-retry-pushback-ms    the same delay, for grpc's own retries

Any exception but a ``ServerError`` is unexpected: the caller gets an error id; the log gets the id and the traceback.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from sardonyx_server import errors
from sardonyx_server.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

__all__ = ["CODES", "DETAILS_KEY", "DOMAIN", "GRPC_CODES", "PUSHBACK_KEY", "Status", "abort", "to_status"]

_LOG = logging.getLogger("sardonyx.rpc")

DOMAIN: Final = "sardonyx"
"""``google.rpc.ErrorInfo.domain`` of every error of this server."""

DETAILS_KEY: Final = "grpc-status-details-bin"
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"

CODES: Final[Mapping[type[errors.ServerError], grpc.StatusCode]] = {
    errors.ServerError: grpc.StatusCode.INTERNAL,
    errors.CallerError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.MessageTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.TryLater: grpc.StatusCode.UNAVAILABLE,
    errors.ModelUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.UNAVAILABLE,
    errors.QueueBytesFull: grpc.StatusCode.UNAVAILABLE,
    errors.QueueTimeout: grpc.StatusCode.UNAVAILABLE,
    errors.QueueTooLong: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.ExecutionFailed: grpc.StatusCode.INTERNAL,
    # A retry does not help until the operator has fixed the cause.
    errors.LoadFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CannotListen: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SettingsError: grpc.StatusCode.FAILED_PRECONDITION,
}
"""Error class -> status code, for every class of sardonyx_server.errors. Other subclasses have the code of their
nearest base class here."""

GRPC_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
"""Number of a status code -> its ``grpc.StatusCode``."""

# Peers accept 8 KiB of metadata by default. The message is sent three times: percent-encoded (at worst three bytes for
# one), and twice in the details, which base64 makes a third longer: 1,024 * 3 + (2 * 1,024 + 1,100) * 4 / 3 < 7.2 kB.
_MESSAGE_LIMIT_BYTES: Final = 1024
_FIELD_LIMIT_BYTES: Final = 256
_REASON_LIMIT_BYTES: Final = 63  # google.rpc.ErrorInfo: "at most 63 characters"

_ERROR_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status of a call that fails.

    Attributes:
        code: Number of the gRPC status code; never 0.
        message: One printable line of at most 1,024 bytes; grpc percent-encodes it.
        trailing: Trailing metadata; values of ``-bin`` keys are bytes.
    """

    code: int
    message: str
    trailing: tuple[tuple[str, str | bytes], ...]


def to_status(error: BaseException) -> Status:
    """The status for an error. Any thread; does not block, except to write the log.

    Args:
        error: A ``ServerError`` is shown to the caller as it is. A ``MemoryError`` is logged and becomes
            RESOURCE_EXHAUSTED. Any other exception is logged under a new error id; the caller sees only the id.
    """
    if isinstance(error, errors.ServerError):
        return _status(_code(type(error)), error.message, error.reason, _info(error), error)
    if isinstance(error, MemoryError):
        # What uses much memory belongs to the caller: its message, its rows, its answer.
        _LOG.error("not enough memory for a request", exc_info=error)
        text = "not enough memory for the request or its answer; ask for less at a time, or later"
        return to_status(errors.MessageTooLarge(text, reason="OUT_OF_MEMORY"))
    error_id = secrets.token_hex(_ERROR_ID_BYTES)
    _LOG.error("unforeseen error, the caller sees error id %s", error_id, exc_info=error, extra={"error_id": error_id})
    message = f"internal error; quote error id {error_id} to the operator"
    return _status(grpc.StatusCode.INTERNAL, message, errors.ServerError.reason, {"error_id": error_id}, None)


def abort(context: grpc.ServicerContext, error: Exception) -> NoReturn:
    """End a call of a grpcio server with the status of an error. Requires: called on the thread of the call."""
    status = to_status(error)
    context.set_trailing_metadata(status.trailing)
    context.abort(GRPC_CODES[status.code], status.message)
    raise AssertionError("bug: abort() returned") from error


def _info(error: errors.ServerError) -> Mapping[str, str]:
    if not isinstance(error, errors.InvalidRequest):
        return {}
    said = {"expected": error.expected, "got": error.got}
    return {name: one_line(text, _FIELD_LIMIT_BYTES) for name, text in said.items() if text}


def _code(kind: type[errors.ServerError]) -> grpc.StatusCode:
    return next(CODES[base] for base in kind.__mro__ if base in CODES)


def _status(
    code: grpc.StatusCode, message: str, reason: str, info: Mapping[str, str], error: errors.ServerError | None
) -> Status:
    number: int = code.value[0]
    message = one_line(message, _MESSAGE_LIMIT_BYTES)
    details: list[Message] = [ErrorInfo(reason=one_line(reason, _REASON_LIMIT_BYTES), domain=DOMAIN, metadata=info)]
    pushback: tuple[tuple[str, str | bytes], ...] = ()
    if isinstance(error, errors.InvalidRequest) and error.field is not None:
        field = one_line(error.field, _FIELD_LIMIT_BYTES)
        details.append(BadRequest(field_violations=[BadRequest.FieldViolation(field=field, description=message)]))
    if isinstance(error, errors.TryLater) and error.retry_after_s is not None:
        # Rounded up: a caller that retries a moment too early is refused again.
        delay_ms = max(0, math.ceil(error.retry_after_s * 1000))
        details.append(RetryInfo(retry_delay=Duration(seconds=delay_ms // 1000, nanos=delay_ms % 1000 * 1_000_000)))
        pushback = ((PUSHBACK_KEY, str(delay_ms)),)
    status = RpcStatus(code=number, message=message, details=[_packed(detail) for detail in details])
    return Status(code=number, message=message, trailing=((DETAILS_KEY, status.SerializeToString()), *pushback))


def _packed(detail: Message) -> PackedMessage:
    packed = PackedMessage()
    packed.Pack(detail)
    return packed
