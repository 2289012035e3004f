"""One ModelStreamInfer on the lane, and its stream of HTTP/2. See :class:`~sardonyx_server.rpc.stream.Stream`.

An idle one is three objects. All of it happens on the lane's thread, so nothing is locked.
"""

from __future__ import annotations

import time
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from sardonyx_server.errors import DeadlineExceeded, ServerError
from sardonyx_server.rpc.lane.calls.deframer import MessageDeframer
from sardonyx_server.rpc.lane.messages.compression import decompress
from sardonyx_server.rpc.status import to_status
from sardonyx_server.rpc.stream import Stream, StreamCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter
    from sardonyx_server.rpc.lane.messages.request_headers import RequestHeaders

__all__ = ["LaneStream"]


class LaneStream:
    """A stream.

    Args:
        host: The lane.
        writer: Of the connection on which it came.
        stream_id: Its number there.
        request: Its header.

    Attributes:
        id: Number of the stream.
        headers_sent:Whether something was sent.
        deadline_s: When the caller gives it up, on ``time.monotonic``.
        encoding: How its answers may be compressed; b"" for not at all.
        ended: Whether it is over for the caller; the engine may still have something of it.
        half_closed: Whether the caller has sent all it will.
        max_answer_bytes: Largest message that is sent.
        window_delta: How much more than at the beginning the caller takes on it now, in bytes; less than 0 where less.
    """

    __slots__ = (
        "__weakref__", "_deframer", "_finished", "_host", "_request", "_stream", "_submitting", "_writer", "deadline_s",
        "encoding", "ended", "half_closed", "headers_sent", "id", "max_answer_bytes", "window_delta",
    )  # fmt: skip

    streamed = False
    """As the call that it is; its requests are calls of their own."""

    def __init__(self, host: CallHost, writer: ResponseWriter, stream_id: int, request: RequestHeaders) -> None:
        self._host = host
        self._writer = writer
        self._request = request
        self._stream = Stream(request.metadata)
        self._deframer = MessageDeframer(host, writer, stream_id, request.encoding)
        self.headers_sent = False
        self._finished = False
        self._submitting = False
        self.ended = False
        self.id = stream_id
        self.deadline_s = time.monotonic() + request.timeout_s
        self.encoding = request.answer_encoding
        self.half_closed = False
        self.max_answer_bytes = host.max_message_bytes
        self.window_delta = 0

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
        if get_ident() == self._host.thread_id and not self._submitting:
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
        if self._writer.reset_if_blocked(self):
            self.cancel()
        else:
            self.fail(DeadlineExceeded("the deadline of the stream passed"))

    # What comes of the caller.

    def on_data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last."""
        self.half_closed = self.half_closed or ends
        if not self._stream.takes_messages:
            return
        self._deframer.feed(data, begin, end)
        self._advance()

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`buffer_updated`; None where they come by :meth:`on_data`."""
        return self._deframer.receive_buffer

    @property
    def is_receiving(self) -> bool:
        """Whether a large message of it has not come whole, and may still come."""
        return self._deframer.receive_buffer is not None

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """So many bytes were put into :attr:`receive_buffer`."""
        self._deframer.buffer_updated(size)
        self.half_closed = self.half_closed or ends
        self._advance()

    def half_close(self) -> None:
        """The caller has sent all it will."""
        self.half_closed = True
        self._advance()

    def cancel(self) -> None:
        """The caller has gone away."""
        self._stream.abandon()
        self._end()

    def on_window_update(self, size: int) -> None:
        """The caller takes so many more bytes of answers."""
        self._writer.increase_window(self, size)

    def on_all_sent(self, window: int) -> None:
        """What windows held back has been sent, and the caller takes so much now."""
        self.window_delta = window - self._writer.outflow.initial_window
        if not self.ended:
            self._stream.sent()
            self._advance()

    def _on_settled(self, call: StreamCall) -> None:
        self._stream.settle(call)
        self._advance()

    def _advance(self) -> None:
        """Do what may be done now: take requests in, send answers, end."""
        stream, writer = self._stream, self._writer
        if self.ended:
            self._finish()
            return
        self._read_requests()
        while (frame := stream.next_frame()) is not None:
            first, self.headers_sent = not self.headers_sent, True
            if not writer.send_message(self, frame, first=first):
                return
            stream.sent()
        if stream.wants_message:
            self._read_requests()
        if stream.is_over and not self.ended:
            writer.end_stream(self, stream.failure, first=not self.headers_sent)
            self._end()

    def _read_requests(self) -> None:
        """Take in the requests that have come, as many as may be in flight."""
        stream = self._stream
        try:
            while stream.wants_message and (found := self._deframer.next_message()) is not None:
                message, is_compressed = found
                self._submit(message, is_compressed=is_compressed)
        except ServerError as error:
            # What comes cannot be read: the stream ends.
            stream.failure = to_status(error)
            stream.abandon()
        if self.half_closed and stream.wants_message:
            # Of a message that is not whole nothing more will come.
            self._deframer.discard()
            stream.complete()

    def _submit(self, message: bytes | memoryview, *, is_compressed: bool) -> None:
        """A request has come. Raises ServerError where it cannot be read."""
        if is_compressed:
            message = decompress(message, self._request.encoding, self._host.max_message_bytes)
        call = StreamCall(self, message)
        if not self._stream.take_in(call):
            return
        if is_compressed:
            self._submitting = True
            try:
                self._host.submit_now(message, call)
            finally:
                self._submitting = False
        else:
            self._host.submit(message, call)

    def _end(self) -> None:
        """It is over for its caller."""
        if not self.ended:
            self.ended = True
            self._deframer.discard()
            self._finish()

    def _finish(self) -> None:
        """Whether what the engine had of it has come back, too."""
        if not self._stream.unanswered and not self._finished:
            self._finished = True
            self._host.stream_ended(self)
