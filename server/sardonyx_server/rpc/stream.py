"""One ModelStreamInfer: whose answer is next, how much may be in flight, how it ends. Speaks no gRPC, starts nothing.

    message --take_in--> StreamCall --engine--> reply or fail --settle--> next_frame --sent-->

Answers leave in the order of the requests, whatever order the models finish in. What a stream holds is bounded, in
requests and in bytes: at the bound no further request is read, so HTTP/2's flow control holds the caller back, be it
because the models are slow or because the caller does not read its answers.

Whoever drives a stream asks after each event what is to be done: send (``next_frame``), end (``is_over``), read
(``wants_message``). Two drivers: lane/calls/stream.py, and public_stream.py on grpcio's public API.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.errors import ShuttingDown
from sardonyx_server.rpc.answer_limit import answer_too_large
from sardonyx_server.rpc.status import Status, to_status
from sardonyx_wire.stream_responses import request_id, stream_error, stream_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["HELD_BYTES", "WINDOW_REQUESTS", "Carrier", "Stream", "StreamCall"]

WINDOW_REQUESTS: Final = 128
"""Requests of one stream that were read and whose answers are not under way. Two full batches of most models."""

HELD_BYTES: Final = 8 * 1024 * 1024
"""Bytes of such requests, and of answers that wait to be sent, beyond which no further request is read."""

# Triton's request header: end the stream with the status of the first request that fails.
_STATUS_KEY: Final = "triton_grpc_error"


class Carrier(Protocol):
    """What a request of a stream needs of the one that drives the stream. Any thread."""

    @property
    def deadline_s(self) -> float:
        """See ``engine.call.Call``."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        ...

    @property
    def max_answer_bytes(self) -> int:
        """Largest message that is sent."""
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
        frame: The answer as it is sent; None where there is none yet.
        failure: The status of a request that failed, else None.
        held_bytes: What it counts for in the stream's bound.
    """

    __slots__ = ("_carrier", "_message", "failure", "frame", "held_bytes")

    streamed = True

    def __init__(self, carrier: Carrier, message: bytes | memoryview) -> None:
        self._carrier = carrier
        # For its id, which an error is sent with. The engine keeps it as long, for the tensors in it.
        self._message: bytes | memoryview = message
        self.frame: bytes | None = None
        self.failure: Status | None = None
        self.held_bytes = len(message)

    @property
    def deadline_s(self) -> float:
        """That of the stream."""
        return self._carrier.deadline_s

    @property
    def cancelled(self) -> bool:
        """Whether the stream ended before this answer."""
        return self._carrier.cancelled

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """That of the stream."""
        return self._carrier.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._carrier.peer()

    def watch(self) -> None:
        """Nothing to do: a stream is watched from its beginning."""

    def reply(self, message: EncodedMessage) -> None:
        """Answer; an answer that is too large is a failure. Any thread; never blocks."""
        frame = stream_response(message)
        if len(frame) > (max_bytes := self._carrier.max_answer_bytes):
            self.fail(answer_too_large(len(frame), max_bytes))
        else:
            self._settle(frame)

    def fail(self, error: Exception) -> None:
        """Answer with the text of an error, or end the stream with it. Any thread; never blocks."""
        self.failure = status = to_status(error)
        self._settle(stream_error(status.message, request_id(self._message)))

    def _settle(self, frame: bytes) -> None:
        self.frame = frame
        self._message = b""
        self._carrier.settled(self)


class Stream:
    """What one stream owes its caller. Not thread-safe: its driver sees to that.

    Args:
        metadata: Of the call.

    Attributes:
        cancelled: Nobody waits for answers any more: the caller is gone, or the stream ends with a failure. May be read
            on any thread.
        failure: The status to end with; None is OK.
        unanswered: Requests that the engine has and that have no answer yet, also where nobody waits for it.
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
        """Whether requests may still come; False is for good."""
        return not (self._complete or self._draining or self.cancelled)

    @property
    def wants_message(self) -> bool:
        """Whether to read one more message now."""
        return self.takes_messages and len(self._order) < WINDOW_REQUESTS and self._held_bytes < HELD_BYTES

    @property
    def is_busy(self) -> bool:
        """Whether an answer is still to come or to be sent; a caller that waits for each answer sends nothing then."""
        return bool(self._order or self._sending_bytes)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do but to end the call, with :attr:`failure` or with OK."""
        return not self.is_busy and (self._complete or self._draining or self.cancelled)

    def take_in(self, call: StreamCall) -> bool:
        """A message has come.

        Returns:
            Whether it is a request to be answered; not where the stream ends.
        """
        if self._draining or self.cancelled:
            self._refused = True
            return False
        # Its answer is taken to be as large as the last one.
        call.held_bytes = max(call.held_bytes, self._answer_bytes)
        self._held_bytes += call.held_bytes
        self.unanswered += 1
        self._order.append(call)
        return True

    def settle(self, call: StreamCall) -> None:
        """A request has got its answer. Once each."""
        self.unanswered -= 1
        if self.cancelled or call.frame is None:
            call.frame = None
        else:
            self._answer_bytes = len(call.frame)
            self._held_bytes += self._answer_bytes - call.held_bytes

    def next_frame(self) -> bytes | None:
        """What is to be sent now, one frame at a time; None where nothing is. Afterwards :meth:`sent`."""
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
        """The frame has left."""
        self._held_bytes -= self._sending_bytes
        self._sending_bytes = 0

    def complete(self) -> None:
        """The caller sends no more: what is in flight is finished, then the stream is over."""
        self._complete = True
        if self._draining and not self._refused and not self.cancelled:
            self.failure = None

    def drain(self) -> None:
        """The server stops: as :meth:`complete`, but the caller learns that what it sends still is not answered."""
        if not (self._complete or self._draining or self.cancelled):
            self._draining = True
            self.failure = to_status(
                ShuttingDown("the server is stopping: what has no answer yet did not run; send it to another server")
            )

    def abandon(self) -> None:
        """Nobody waits for what is in flight any more."""
        self.cancelled = True
        self._order.clear()
