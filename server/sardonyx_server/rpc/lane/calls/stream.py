"""One ModelStreamInfer call on the lane, and its HTTP/2 stream. See :class:`~sardonyx_server.rpc.stream.Stream`.

An idle stream is three objects. Its state is used only on the lane's thread, so there are no locks.
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
    """One ModelStreamInfer call.

    Args:
        host: The lane.
        writer: The response writer of the call's connection.
        stream_id: The stream id.
        request: The decoded request headers.

    Attributes:
        id: The stream id.
        headers_sent: Whether response headers were sent.
        deadline_s: The caller's deadline, on ``time.monotonic``; infinity where it set none.
        encoding: ``grpc-encoding`` that the responses may use; b"" = they are not compressed.
        ended: Whether the HTTP/2 stream is closed. The engine may still hold requests of it.
        half_closed: Whether the caller has sent END_STREAM.
        max_answer_bytes: Size limit of a response message.
        window_delta: The stream's send window less the initial window, in bytes. May be negative.
    """

    __slots__ = (
        "__weakref__", "_deframer", "_finished", "_host", "_request", "_stream", "_submitting", "_writer", "deadline_s",
        "encoding", "ended", "half_closed", "headers_sent", "id", "max_answer_bytes", "window_delta",
    )  # fmt: skip

    streamed = False
    """For the call as a whole; each request is a :class:`StreamCall` of its own."""

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
        """Whether no further responses will be sent: the caller is gone, or the stream has failed."""
        return self._stream.cancelled

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call, in the order sent."""
        return self._request.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._request.peer

    def settled(self, call: StreamCall) -> None:
        """The response of a request is ready. Any thread; never blocks."""
        # Not while a request is being submitted: _read_requests is on the stack, and continues by itself.
        if get_ident() == self._host.thread_id and not self._submitting:
            self._on_settled(call)
        else:
            self._host.call_soon(partial(self._on_settled, call))

    def refuse(self, error: Exception) -> None:
        """Refuse the stream before it begins."""
        self._host.refuse(error, self)

    def fail(self, error: Exception) -> None:
        """End the stream with the status of an error. Requests in flight get no response."""
        if not self._stream.cancelled:
            self._stream.failure = to_status(error)
            self._stream.abandon()
        self._advance()

    def drain(self) -> None:
        """Read no more requests, and end when all requests in flight are answered."""
        self._stream.drain()
        self._advance()

    def expire(self) -> None:
        """The deadline has passed: end the stream, or reset it where responses are blocked by flow control."""
        if self.ended:
            return
        if self._writer.reset_if_blocked(self):
            self.cancel()
        else:
            self.fail(DeadlineExceeded("the deadline of the stream passed"))

    # Events of the HTTP/2 stream.

    def on_data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Receive ``data[begin:end]``, the payload of a DATA frame; ``ends``: END_STREAM was set."""
        self.half_closed = self.half_closed or ends
        if not self._stream.takes_messages:
            return
        self._deframer.feed(data, begin, end)
        self._advance()

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next data, to be followed by :meth:`buffer_updated`; None = pass them to :meth:`on_data`."""
        return self._deframer.receive_buffer

    @property
    def is_receiving(self) -> bool:
        """Whether a large message is incomplete and may still arrive."""
        return self._deframer.receive_buffer is not None

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """The first ``size`` bytes of :attr:`receive_buffer` have been filled; ``ends``: END_STREAM was set."""
        self._deframer.buffer_updated(size)
        self.half_closed = self.half_closed or ends
        self._advance()

    def half_close(self) -> None:
        """The caller has sent END_STREAM."""
        self.half_closed = True
        self._advance()

    def cancel(self) -> None:
        """The caller has cancelled the call or gone away."""
        self._stream.abandon()
        self._end()

    def on_window_update(self, size: int) -> None:
        """The caller has increased the send window of the stream by ``size`` bytes."""
        self._writer.increase_window(self, size)

    def on_all_sent(self, window: int) -> None:
        """All data that were blocked by flow control have been sent; the send window is now ``window`` bytes."""
        self.window_delta = window - self._writer.outflow.initial_window
        if not self.ended:
            self._stream.sent()
            self._advance()

    def _on_settled(self, call: StreamCall) -> None:
        self._stream.settle(call)
        self._advance()

    def _advance(self) -> None:
        """Do all that is possible now: read requests, send responses, end the stream."""
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
        """Submit the requests that have arrived, as many as may be in flight."""
        stream = self._stream
        try:
            while stream.wants_message and (found := self._deframer.next_message()) is not None:
                message, is_compressed = found
                self._submit(message, is_compressed=is_compressed)
        except ServerError as error:
            # The data cannot be decoded: the stream ends with this status.
            stream.failure = to_status(error)
            stream.abandon()
        if self.half_closed and stream.wants_message:
            # The rest of an incomplete message will not arrive.
            self._deframer.discard()
            stream.complete()

    def _submit(self, message: bytes | memoryview, *, is_compressed: bool) -> None:
        """Submit a request. Raises ServerError where it cannot be decompressed."""
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
        """The HTTP/2 stream is closed."""
        if not self.ended:
            self.ended = True
            self._deframer.discard()
            self._finish()

    def _finish(self) -> None:
        """Tell the host, once, that the stream has ended and the engine holds none of its requests."""
        if not self._stream.unanswered and not self._finished:
            self._finished = True
            self._host.stream_ended(self)
