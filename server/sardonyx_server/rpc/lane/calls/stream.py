"""One ModelStreamInfer on the lane, and its stream of HTTP/2. See :class:`~sardonyx_server.rpc.stream.Stream`.

An idle one is three objects. All of it happens on the lane's thread, so nothing is locked.
"""

from __future__ import annotations

import time
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from sardonyx_server.errors import DeadlineExceeded, ServerError
from sardonyx_server.rpc.lane.calls.incoming import Incoming
from sardonyx_server.rpc.lane.messages.compression import decompress
from sardonyx_server.rpc.status import to_status
from sardonyx_server.rpc.stream import Stream, StreamCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.replies import Replies
    from sardonyx_server.rpc.lane.messages.request import Request

__all__ = ["LaneStream"]


class LaneStream:
    """A stream.

    Args:
        host: The lane.
        replies: Of the connection on which it came.
        stream_id: Its number there.
        request: Its header.

    Attributes:
        id: Number of the stream.
        begun: Whether something was sent.
        deadline_s: When the caller gives it up, on ``time.monotonic``.
        encoding: How its answers may be compressed; b"" for not at all.
        ended: Whether it is over for the caller; the engine may still have something of it.
        half_closed: Whether the caller has sent all it will.
        max_answer_bytes: Largest message that is sent.
        widened: How much more than at the beginning the caller takes on it now, in bytes; less than 0 where less.
    """

    __slots__ = (
        "__weakref__",
        "_handing_on",
        "_host",
        "_incoming",
        "_over",
        "_replies",
        "_request",
        "_stream",
        "begun",
        "deadline_s",
        "encoding",
        "ended",
        "half_closed",
        "id",
        "max_answer_bytes",
        "widened",
    )  # fmt: skip

    streamed = False
    """As the call that it is; its requests are calls of their own."""

    def __init__(self, host: CallHost, replies: Replies, stream_id: int, request: Request) -> None:
        self._host = host
        self._replies = replies
        self._request = request
        self._stream = Stream(request.metadata)
        self._incoming = Incoming(host, replies, stream_id, request.encoding)
        self.begun = False
        self._over = False
        self._handing_on = False
        self.ended = False
        self.id = stream_id
        self.deadline_s = time.monotonic() + request.timeout_s
        self.encoding = request.answer_encoding
        self.half_closed = False
        self.max_answer_bytes = host.max_message_bytes
        self.widened = 0

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        return self._stream.cancelled

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Of the call."""
        return self._request.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._request.peer

    def settled(self, call: StreamCall) -> None:
        """A request has its answer. Any thread; never blocks."""
        # Not within what hands a request on: that goes on to the next one by itself.
        if get_ident() == self._host.thread_id and not self._handing_on:
            self._on_settled(call)
        else:
            self._host.call_soon(partial(self._on_settled, call))

    def refuse(self, error: Exception) -> None:
        """It cannot begin."""
        self._host.refuse(error, self)

    def fail(self, error: Exception) -> None:
        """End it with the status of an error. What is in flight is not answered any more."""
        if not self._stream.cancelled:
            self._stream.failure = to_status(error)
            self._stream.abandon()
        self._advance()

    def drain(self) -> None:
        """Take no more requests; end when what is in flight is answered."""
        self._stream.drain()
        self._advance()

    def expire(self) -> None:
        """The caller's time is up."""
        if self.ended:
            return
        if self._replies.cut_short(self):
            self.drop()
        else:
            self.fail(DeadlineExceeded("the deadline of the stream passed"))

    # What comes of the caller.

    def data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last."""
        self.half_closed = self.half_closed or ends
        if not self._stream.takes_messages:
            return
        self._incoming.add(data, begin, end)
        self._advance()

    @property
    def room(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`filled`; None where they come by :meth:`data`."""
        return self._incoming.room

    @property
    def is_awaited(self) -> bool:
        """Whether a large message of it has not come whole, and may still come."""
        return self._incoming.room is not None

    def filled(self, size: int, *, ends: bool) -> None:
        """So many bytes were put into :attr:`room`."""
        self._incoming.filled(size)
        self.half_closed = self.half_closed or ends
        self._advance()

    def half_close(self) -> None:
        """The caller has sent all it will."""
        self.half_closed = True
        self._advance()

    def drop(self) -> None:
        """The caller has gone away."""
        self._stream.abandon()
        self._end()

    def widen(self, size: int) -> None:
        """The caller takes so many more bytes of answers."""
        self._replies.widen(self, size)

    def all_sent(self, window: int) -> None:
        """What windows held back has been sent, and the caller takes so much now."""
        self.widened = window - self._replies.outflow.initial_window
        if not self.ended:
            self._stream.sent()
            self._advance()

    def _on_settled(self, call: StreamCall) -> None:
        self._stream.settle(call)
        self._advance()

    def _advance(self) -> None:
        """Do what may be done now: take requests in, send answers, end."""
        stream, replies = self._stream, self._replies
        if self.ended:
            self._see_over()
            return
        self._take_in()
        while (frame := stream.next_frame()) is not None:
            first, self.begun = not self.begun, True
            if not replies.send_message(self, frame, first=first):
                return
            stream.sent()
        if stream.wants_message:
            self._take_in()
        if stream.is_over and not self.ended:
            replies.end_stream(self, stream.failure, first=not self.begun)
            self._end()

    def _take_in(self) -> None:
        """Take in the requests that have come, as many as may be in flight."""
        stream = self._stream
        try:
            while stream.wants_message and (found := self._incoming.take()) is not None:
                message, is_packed = found
                self._hand_on(message, is_packed=is_packed)
        except ServerError as error:
            # What comes cannot be read: the stream ends.
            stream.failure = to_status(error)
            stream.abandon()
        if self.half_closed and stream.wants_message:
            # Of a message that is not whole nothing more will come.
            self._incoming.drop()
            stream.complete()

    def _hand_on(self, message: bytes | memoryview, *, is_packed: bool) -> None:
        """A request has come. Raises ServerError where it cannot be read."""
        if is_packed:
            message = decompress(message, self._request.encoding, self._host.max_message_bytes)
        call = StreamCall(self, message)
        if not self._stream.take_in(call):
            return
        if is_packed:
            self._handing_on = True
            try:
                self._host.take_in_now(message, call)
            finally:
                self._handing_on = False
        else:
            self._host.take_in(message, call)

    def _end(self) -> None:
        """It is over for its caller."""
        if not self.ended:
            self.ended = True
            self._incoming.drop()
            self._see_over()

    def _see_over(self) -> None:
        """Whether what the engine had of it has come back, too."""
        if not self._stream.unanswered and not self._over:
            self._over = True
            self._host.stream_ended(self)
