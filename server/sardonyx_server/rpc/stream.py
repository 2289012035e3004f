"""State of one ModelStreamInfer: order of answers, limit of what is in flight, end. No gRPC, no threads.

    message --take_in--> StreamCall --engine--> reply or fail --settle--> next_frame --sent-->

Answers are sent in the order of the requests, whatever order the models finish in. What a stream holds is bounded, in
requests and in bytes. At the bound no further request is read, so HTTP/2 flow control stops the caller, whether the
models are slow or the caller does not read its answers.

After each event the driver of a stream asks what to do: send (``next_frame``), end (``is_over``) or read
(``wants_message``). There are two drivers: lane/calls/stream.py, and grpcio_stream.py on grpcio's public API.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.errors import ShuttingDown
from sardonyx_server.rpc.response_size_limit import response_too_large
from sardonyx_server.rpc.status import Status, to_status
from sardonyx_wire.stream_responses import request_id, stream_error, stream_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["HELD_BYTES", "WINDOW_REQUESTS", "Stream", "StreamCall", "StreamDriver"]

WINDOW_REQUESTS: Final = 128
"""Maximum number of requests of one stream that were read and whose answers are not being sent yet. Two full batches of
most models."""

HELD_BYTES: Final = 8 * 1024 * 1024
"""Bytes of such requests and of answers waiting to be sent, from which on no further request is read."""

# Triton's request header: end the stream with the status of the first request that fails.
_STATUS_KEY: Final = "triton_grpc_error"


class StreamDriver(Protocol):
    """What a request of a stream needs of the driver of the stream. Any thread."""

    @property
    def deadline_s(self) -> float:
        """See ``engine.call.Call``."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether no answer is wanted any more."""
        ...

    @property
    def max_answer_bytes(self) -> int:
        """Size of the largest message that is sent."""
        ...

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """See ``engine.call.Call``."""
        ...

    def peer(self) -> str:
        """See ``engine.call.Call``."""
        ...

    def settled(self, call: StreamCall) -> None:
        """A request has its answer. Never blocks."""
        ...


class StreamCall:
    """One request of a stream. See :class:`~sardonyx_server.engine.call.Call`.

    Attributes:
        frame: The answer in the form in which it is sent; None before there is one.
        failure: The status if the request failed, else None.
        held_bytes: Bytes that the request counts in the stream's bound.
    """

    __slots__ = ("_driver", "_message", "failure", "frame", "held_bytes")

    streamed = True

    def __init__(self, driver: StreamDriver, message: bytes | memoryview) -> None:
        self._driver = driver
        # Kept for its id, which is sent with an error. The engine keeps the message as long, for the tensors in it.
        self._message: bytes | memoryview = message
        self.frame: bytes | None = None
        self.failure: Status | None = None
        self.held_bytes = len(message)

    @property
    def deadline_s(self) -> float:
        """Deadline of the stream."""
        return self._driver.deadline_s

    @property
    def cancelled(self) -> bool:
        """Whether the stream ended before this request was answered."""
        return self._driver.cancelled

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the stream."""
        return self._driver.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._driver.peer()

    def watch(self) -> None:
        """Does nothing: a stream is watched from its beginning."""

    def reply(self, message: EncodedMessage) -> None:
        """Answer; an answer that is too large is a failure. Any thread; never blocks."""
        frame = stream_response(message)
        if len(frame) > (max_bytes := self._driver.max_answer_bytes):
            self.fail(response_too_large(len(frame), max_bytes))
        else:
            self._settle(frame)

    def fail(self, error: Exception) -> None:
        """Answer with the text of an error, or end the stream with it. Any thread; never blocks."""
        self.failure = status = to_status(error)
        self._settle(stream_error(status.message, request_id(self._message)))

    def _settle(self, frame: bytes) -> None:
        self.frame = frame
        self._message = b""
        self._driver.settled(self)


class Stream:
    """The requests of one stream and the answers that are due. Not thread-safe: the driver serialises the calls.

    Args:
        metadata: Metadata of the call.

    Attributes:
        cancelled: No answer is wanted any more: the caller is gone, or the stream ends with a failure. May be read on
            any thread.
        failure: The status to end with; None means OK.
        unanswered: Number of requests that the engine has not answered yet, including those whose answer is not
            wanted any more.
    """

    __slots__ = (
        "_answer_bytes",
        "_complete",
        "_draining",
        "_ends_at_failure",
        "_held_bytes",
        "_order",
        "_refused",
        "_sending_bytes",
        "cancelled",
        "failure",
        "unanswered",
    )

    def __init__(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        self._ends_at_failure = any(key == _STATUS_KEY and value == "true" for key, value in metadata)
        self._order: deque[StreamCall] = deque()
        self._held_bytes = 0
        self._sending_bytes = 0
        self._answer_bytes = 0
        self._complete = False
        self._draining = False
        self._refused = False
        self.cancelled = False
        self.failure: Status | None = None
        self.unanswered = 0

    @property
    def takes_messages(self) -> bool:
        """Whether further requests are accepted. Once False, it stays False."""
        return not (self._complete or self._draining or self.cancelled)

    @property
    def wants_message(self) -> bool:
        """Whether to read one more message now."""
        return self.takes_messages and len(self._order) < WINDOW_REQUESTS and self._held_bytes < HELD_BYTES

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited or being sent; meanwhile a caller that waits for each answer sends nothing."""
        return bool(self._order or self._sending_bytes)

    @property
    def is_over(self) -> bool:
        """Whether the call must now be ended, with :attr:`failure` or with OK."""
        return not self.is_busy and (self._complete or self._draining or self.cancelled)

    def take_in(self, call: StreamCall) -> bool:
        """Accept a message that was read.

        Returns:
            True if the message is a request to answer; False if the stream is ending.
        """
        if self._draining or self.cancelled:
            self._refused = True
            return False
        # Its answer is assumed to be as large as the last one.
        call.held_bytes = max(call.held_bytes, self._answer_bytes)
        self._held_bytes += call.held_bytes
        self.unanswered += 1
        self._order.append(call)
        return True

    def settle(self, call: StreamCall) -> None:
        """A request has its answer. Requires: called once for each request."""
        self.unanswered -= 1
        if self.cancelled or call.frame is None:
            call.frame = None
        else:
            self._answer_bytes = len(call.frame)
            self._held_bytes += self._answer_bytes - call.held_bytes

    def next_frame(self) -> bytes | None:
        """The frame to send now, or None. Requires: :meth:`sent` is called after each frame, before the next one."""
        if self._sending_bytes or not self._order or (frame := self._order[0].frame) is None:
            return None
        call = self._order.popleft()
        if call.failure is not None and self._ends_at_failure:
            self.failure = call.failure
            self.abandon()
            return None
        self._sending_bytes = len(frame)
        return frame

    def sent(self) -> None:
        """The frame was sent."""
        self._held_bytes -= self._sending_bytes
        self._sending_bytes = 0

    def complete(self) -> None:
        """The caller sends no more requests: those in flight are answered, then the stream is over."""
        self._complete = True
        if self._draining and not self._refused and not self.cancelled:
            self.failure = None

    def drain(self) -> None:
        """The server stops: as :meth:`complete`, but the status says that later requests are not answered."""
        if not (self._complete or self._draining or self.cancelled):
            self._draining = True
            self.failure = to_status(
                ShuttingDown("the server is stopping: what has no answer yet did not run; send it to another server")
            )

    def abandon(self) -> None:
        """The answers of the requests in flight are not wanted any more."""
        self.cancelled = True
        self._order.clear()
