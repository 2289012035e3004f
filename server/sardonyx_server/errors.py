"""The server's exceptions, grouped by who can act on them. Independent of gRPC: rpc/status.py maps each to a status.

    ServerError
    |-- CallerError                   the caller must change something
    |   |-- InvalidRequest            a field of the request is wrong
    |   |-- NotFound                  no such model, version or shared memory region
    |   |-- AlreadyExists             the name is taken
    |   |-- DeadlineExceeded          the caller's deadline has passed
    |   |-- Cancelled                 the caller cancelled or disconnected
    |   |-- MessageTooLarge           more bytes than the server takes or sends at a time
    |   |-- Unauthenticated           no or wrong credentials
    |   `-- Forbidden                 known, but not allowed
    |-- TryLater                      the same request may succeed later
    |   |-- ModelUnavailable          loading, draining or failed
    |   |-- Overloaded                a queue is full
    |   |   |-- QueueBytesFull        its byte limit is reached, the model's or the server's
    |   |   |-- QueueTimeout          the request was queued for too long
    |   |   `-- QueueTooLong          the queue is longer than the request's deadline allows
    |   `-- ShuttingDown              the server is stopping
    |-- Unsupported                   this server or machine cannot do it
    |-- ExecutionFailed               the model raised while it ran
    |-- LoadFailed                    the operator must fix a model, its config or the machine
    |-- CannotListen                  the operator must choose another address
    `-- SettingsError                 the operator must fix a flag, a variable or the settings file

Every message names the thing, the limit and the value, is safe to show to a caller, and says how to fix the problem.
"""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "CallerError",
    "Cancelled",
    "CannotListen",
    "DeadlineExceeded",
    "ExecutionFailed",
    "Forbidden",
    "InvalidRequest",
    "LoadFailed",
    "MessageTooLarge",
    "ModelUnavailable",
    "NotFound",
    "Overloaded",
    "QueueBytesFull",
    "QueueTimeout",
    "QueueTooLong",
    "ServerError",
    "SettingsError",
    "ShuttingDown",
    "TryLater",
    "Unauthenticated",
    "Unsupported",
]


class ServerError(Exception):
    """Base class of every error this server raises deliberately.

    Args:
        message: One line, shown to the caller as it is.
        reason: UPPER_SNAKE_CASE, stable, for programs (``google.rpc.ErrorInfo.reason``). None: the class's default.
    """

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class CallerError(ServerError):
    """The caller must change something before the request can succeed."""

    reason = "BAD_REQUEST"


class InvalidRequest(CallerError):
    """A field of the request is wrong.

    Args:
        message: What was expected, what was received, and how to fix it.
        field: Path in the request message, such as ``inputs[0].shape``; None if no single field is at fault.
        expected: The expected value, for programs; "" if there is no single one.
        got: The received value, likewise.
    """

    reason = "INVALID_REQUEST"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        reason: str | None = None,
        expected: str = "",
        got: str = "",
    ) -> None:
        super().__init__(message, reason=reason)
        self.field = field
        self.expected = expected
        self.got = got


class NotFound(CallerError):
    """No such model, version or shared memory region."""

    reason = "NOT_FOUND"


class AlreadyExists(CallerError):
    """The name the caller chose is already in use."""

    reason = "ALREADY_EXISTS"


class DeadlineExceeded(CallerError):
    """The caller's deadline passed before the model ran for it."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(CallerError):
    """The caller cancelled or disconnected before the model ran for it."""

    reason = "CANCELLED"


class MessageTooLarge(CallerError):
    """A message has more bytes than the server takes or sends at a time."""

    reason = "MESSAGE_TOO_LARGE"


class Unauthenticated(CallerError):
    """No credentials, or wrong ones."""

    reason = "UNAUTHENTICATED"


class Forbidden(CallerError):
    """The caller is authenticated but may not do this."""

    reason = "FORBIDDEN"


class TryLater(ServerError):
    """The same request may succeed later.

    Args:
        message: Why the request cannot be served now.
        retry_after_s: Suggested delay before a retry, in seconds; None if unknown.
    """

    reason = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float | None = None, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class ModelUnavailable(TryLater):
    """The model exists but is loading, draining or failed."""

    reason = "MODEL_UNAVAILABLE"


class Overloaded(TryLater):
    """A queue is full, or a request was queued longer than its policy allows."""

    reason = "OVERLOADED"


class QueueBytesFull(Overloaded):
    """The limit on queued bytes, of one model or of all models together, is reached."""


class QueueTimeout(Overloaded):
    """A request was queued longer than its policy allows."""

    reason = "QUEUE_TIMEOUT"


class QueueTooLong(Overloaded):
    """The queue is so long that the request would miss its deadline."""

    reason = "QUEUE_TOO_LONG"


class ShuttingDown(TryLater):
    """The server is stopping and accepts no new requests."""

    reason = "SHUTTING_DOWN"


class Unsupported(ServerError):
    """This server or machine does not support what was requested."""

    reason = "UNSUPPORTED"


class ExecutionFailed(ServerError):
    """The model failed while it ran for this request."""

    reason = "EXECUTION_FAILED"


class LoadFailed(ServerError):
    """A model cannot be loaded; the message tells the operator why and what to do."""

    reason = "LOAD_FAILED"


class CannotListen(ServerError):
    """The address is in use, or does not belong to this machine."""

    reason = "CANNOT_LISTEN"


class SettingsError(ServerError):
    """A flag, an environment variable or the settings file is wrong."""

    reason = "SETTINGS"
