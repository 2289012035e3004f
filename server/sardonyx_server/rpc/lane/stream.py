"""One ModelStreamInfer on the lane, and its stream of HTTP/2. See :class:`~sardonyx_server.rpc.stream.Stream`.

An idle one is two objects. All of it happens on the lane's thread, so nothing is locked.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import DeadlineExceeded, ServerError
from sardonyx_server.rpc.lane.broken import ConnectionBroken
from sardonyx_server.rpc.lane.call import STREAM_WINDOW_BYTES
from sardonyx_server.rpc.lane.compression import decompress
from sardonyx_server.rpc.lane.message import PREFIX_BYTES, Assembly, checked_size
from sardonyx_server.rpc.status import to_status
from sardonyx_server.rpc.stream import Stream, StreamCall
from sardonyx_wire.http2.frames import ErrorCode, window_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.rpc.lane.host import Host
    from sardonyx_server.rpc.lane.replies import Replies
    from sardonyx_server.rpc.lane.request import Request

__all__ = ["LaneStream"]

# A message that is longer is collected as it comes; shorter ones wait as they are until they are whole.
_COLLECTED_BYTES: Final = 64 * 1024
# The caller gets its window back once it has used so much of it.
_RETURNED_BYTES: Final = STREAM_WINDOW_BYTES // 4


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
        widened: How much more than at the beginning the caller takes on it now, in bytes; less than 0 where less.
    """

    __slots__ = (
        "__weakref__",
        "_assembly",
        "_handing_on",
        "_host",
        "_over",
        "_position",
        "_replies",
        "_request",
        "_stream",
        "_unread",
        "_used",
        "begun",
        "deadline_s",
        "encoding",
        "ended",
        "half_closed",
        "id",
        "widened",
    )  # fmt: skip

    streamed = False
    """As the call that it is; its requests are calls of their own."""

    def __init__(self, host: Host, replies: Replies, stream_id: int, request: Request) -> None:
        self._host = host
        self._replies = replies
        self._request = request
        self._stream = Stream(request.metadata)
        # What has come and was not taken in yet, from a position on.
        self._unread = bytearray()
        self._position = 0
        self._assembly: Assembly | None = None
        self._used = 0
        self.begun = False
        self._over = False
        self._handing_on = False
        self.ended = False
        self.id = stream_id
        self.deadline_s = time.monotonic() + request.timeout_s
        self.encoding = request.answer_encoding
        self.half_closed = False
        self.widened = 0

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        return self._stream.cancelled

    @property
    def max_answer_bytes(self) -> int:
        """Largest message that is sent."""
        return self._host.max_message_bytes

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
        if self._host.is_current_thread() and not self._handing_on:
            self._on_settled(call)
        else:
            self._host.later(partial(self._on_settled, call))

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

    def data(self, data: bytes, begin: int, end: int, *, ends: bool) -> None:
        """Data came, between two positions; ``ends``: and they were the last."""
        self.half_closed = self.half_closed or ends
        if not self._stream.takes_messages:
            return
        if self._assembly is not None:
            self._add(memoryview(data)[begin:end])
        else:
            self._unread += data[begin:end]
            self._check_window()
        self._advance()

    @property
    def room(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`filled`; None where they come by :meth:`data`."""
        return None if self._assembly is None else self._assembly.room

    def filled(self, size: int, *, ends: bool) -> None:
        """So many bytes were put into :attr:`room`."""
        if self._assembly is not None:
            self._see_whole(self._assembly.filled(size))
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
        while stream.wants_message and self._take_next():
            pass
        if self.half_closed and stream.wants_message:
            # Of a message that is not whole nothing more will come.
            self._drop_unread()
            stream.complete()

    def _take_next(self) -> bool:
        """Take the next request that has come; whether there was a whole one."""
        unread, position = self._unread, self._position
        if self._assembly is not None or len(unread) - position < PREFIX_BYTES:
            return False
        prefix = bytes(unread[position : position + PREFIX_BYTES])
        try:
            size = checked_size(prefix, self._host.max_message_bytes, self._request.encoding)
        except ServerError as error:
            self._fail(error)
            return False
        end = position + PREFIX_BYTES + size
        if end > len(unread):
            if size > _COLLECTED_BYTES:
                self._collect(size)
            return False
        message = bytes(memoryview(unread)[position + PREFIX_BYTES : end])
        self._position = end
        if end == len(unread) or end > _COLLECTED_BYTES:
            self._unread = unread[end:]
            self._position = 0
        self._return(PREFIX_BYTES + size, at_once=False)
        self._hand_on(message, is_packed=prefix[0] == 1)
        return True

    def _collect(self, size: int) -> None:
        """A large message has begun."""
        assembly = self._assembly = Assembly(
            self._host.max_message_bytes, self._host.unfinished, self._request.encoding
        )
        rest = bytes(memoryview(self._unread)[self._position :])
        self._unread, self._position = bytearray(), 0
        # All of it may come at once.
        self._return(PREFIX_BYTES + size, at_once=True)
        try:
            assembly.add(memoryview(rest))
        except ServerError as error:
            self._fail(error)

    def _add(self, piece: memoryview) -> None:
        """A piece of a message that is collected, and what is behind it."""
        assembly = self._assembly
        room = None if assembly is None else assembly.room
        if assembly is None or room is None:
            raise AssertionError("bug: no message is collected")
        missing = len(room)
        self._unread += piece[missing:]
        self._check_window()
        self._see_whole(assembly.add(piece[:missing]))

    def _see_whole(self, message: memoryview | None) -> None:
        if message is not None and self._assembly is not None:
            is_packed = self._assembly.is_packed
            self._assembly = None
            self._hand_on(message, is_packed=is_packed)

    def _hand_on(self, message: bytes | memoryview, *, is_packed: bool) -> None:
        """A request has come."""
        if is_packed:
            try:
                message = decompress(message, self._request.encoding, self._host.max_message_bytes)
            except ServerError as error:
                self._fail(error)
                return
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

    def _fail(self, error: ServerError) -> None:
        """What comes cannot be read: the stream ends."""
        self._stream.failure = to_status(error)
        self._stream.abandon()

    def _check_window(self) -> None:
        if len(self._unread) - self._position > STREAM_WINDOW_BYTES:
            raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, f"stream {self.id} was sent more than its window")

    def _drop_unread(self) -> None:
        self._unread, self._position = bytearray(), 0
        if self._assembly is not None:
            self._assembly.drop()
            self._assembly = None

    def _return(self, size: int, *, at_once: bool) -> None:
        """So much of the window was used: the caller may send more."""
        self._used += size
        if at_once or self._used >= _RETURNED_BYTES:
            self._replies.put(window_update(self.id, self._used))
            self._used = 0

    def _end(self) -> None:
        """It is over for its caller."""
        if not self.ended:
            self.ended = True
            self._drop_unread()
            self._see_over()

    def _see_over(self) -> None:
        """Whether what the engine had of it has come back, too."""
        if not self._stream.unanswered and not self._over:
            self._over = True
            self._host.stream_ended(self)
