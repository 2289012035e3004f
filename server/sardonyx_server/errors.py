"""What can go wrong, by who can act on it. Knows no transport: rpc/status.py maps each class to a status.

    ServerError
    |-- CallerError                   the caller must change something
    |   |-- InvalidRequest            a field of the request is wrong
    |   |-- NotFound                  no such model, version or shared memory region
    |   |-- AlreadyExists             the name is taken
    |   |-- DeadlineExceeded          the caller's time is up
    |   |-- Cancelled                 the caller went away
    |   |-- MessageTooLarge           more bytes than the server takes or sends at a time
    |   |-- Unauthenticated           no or wrong credentials
    |   `-- Forbidden                 known, but not allowed
    |-- TryLater                      the same request may succeed later
    |   |-- ModelUnavailable          loading, draining or failed
    |   |-- Overloaded                a queue is full
    |   |   |-- QueueBytesFull        of bytes, this model's or the server's
    |   |   |-- QueueTimeout          the request waited in it too long
    |   |   `-- QueueTooLong          it would wait in it beyond its deadline
    |   `-- ShuttingDown              the server is stopping
    |-- Unsupported                   this server or machine cannot do it
    |-- ExecutionFailed               the model raised while it ran
    |-- LoadFailed                    the operator must mend a model, its config or the machine
    |-- CannotListen                  the operator must choose another address
    `-- SettingsError                 the operator must mend a flag, a variable or the settings file

Every message names the thing, the limit and the value, is safe to show to a caller, and says the way out.
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
    """Base of every error this server raises on purpose.

    Args:
        message: One line, shown to the caller as it is.
        reason: UPPER_SNAKE_CASE, stable, for programs (``google.rpc.ErrorInfo.reason``). None: the class default.
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
        message: What was expected, what came, and the way out.
        field: Path in the request message, such as ``inputs[0].shape``; None where no single field is to blame.
        expected: What the message says was expected, for programs; "" where it is no single thing.
        got: What came instead, likewise.
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
    """The name that the caller chose is taken."""

    reason = "ALREADY_EXISTS"


class DeadlineExceeded(CallerError):
    """The caller's deadline passed before the model ran for it."""

    reason = "DEADLINE_EXCEEDED"


class Cancelled(CallerError):
    """The caller went away before the model ran for it."""

    reason = "CANCELLED"


class MessageTooLarge(CallerError):
    """A message has more bytes than the server takes or sends at a time."""

    reason = "MESSAGE_TOO_LARGE"


class Unauthenticated(CallerError):
    """No credentials, or wrong ones."""

    reason = "UNAUTHENTICATED"


class Forbidden(CallerError):
    """The caller is known, but may not do this."""

    reason = "FORBIDDEN"


class TryLater(ServerError):
    """The same request may succeed later.

    Args:
        message: What is in the way.
        retry_after_s: Advice for the caller, in seconds; None where the server cannot tell.
    """

    reason = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float | None = None, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class ModelUnavailable(TryLater):
    """The model is known but loading, draining or failed."""

    reason = "MODEL_UNAVAILABLE"


class Overloaded(TryLater):
    """A queue is full, or a request waited in it longer than its policy allows."""

    reason = "OVERLOADED"


class QueueBytesFull(Overloaded):
    """The bytes that may wait for a model, or for all models, are used up."""


class QueueTimeout(Overloaded):
    """A request waited in a queue longer than its policy allows."""

    reason = "QUEUE_TIMEOUT"


class QueueTooLong(Overloaded):
    """A request would wait in a queue beyond its caller's deadline."""

    reason = "QUEUE_TOO_LONG"


class ShuttingDown(TryLater):
    """The server is stopping and takes no new requests."""

    reason = "SHUTTING_DOWN"


class Unsupported(ServerError):
    """This server, or this machine, cannot do what was asked."""

    reason = "UNSUPPORTED"


class ExecutionFailed(ServerError):
    """The model raised while it ran for this request."""

    reason = "EXECUTION_FAILED"


class LoadFailed(ServerError):
    """A model cannot be loaded; the message tells the operator why and what to do."""

    reason = "LOAD_FAILED"


class CannotListen(ServerError):
    """The address is taken, or is not this machine's."""

    reason = "CANNOT_LISTEN"


class SettingsError(ServerError):
    """A flag, an environment variable or the settings file is wrong."""

    reason = "SETTINGS"
