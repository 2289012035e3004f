"""One ModelInfer call on the lane, and its HTTP/2 stream. See :class:`~sardonyx_server.engine.call.Call`."""

from __future__ import annotations

import math
import time
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from sardonyx_server.errors import InvalidRequest, Overloaded, ServerError
from sardonyx_server.rpc.lane.flow_control.inflow import NARROW_WINDOW_BYTES
from sardonyx_server.rpc.lane.messages.compression import decompress
from sardonyx_server.rpc.lane.messages.message_assembly import PREFIX_BYTES, MessageAssembly
from sardonyx_wire.http2.frames import window_update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter
    from sardonyx_server.rpc.lane.messages.request_headers import RequestHeaders
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["LaneCall"]


class LaneCall:
    """One ModelInfer call. Used on the lane's thread, except where a method says otherwise.

    Args:
        host: The lane.
        writer: The response writer of the call's connection.
        stream_id: The stream id.
        request: The decoded request headers.

    Attributes:
        id: The stream id.
        headers_sent: Whether response headers were sent and the stream is still open. Always False: the response is one
            message, which is queued together with its headers and trailers.
        cancelled: Whether the caller has cancelled the call or gone away, or its deadline has passed.
        deadline_s: The caller's deadline, on ``time.monotonic``; infinity where it set none.
        encoding: ``grpc-encoding`` that the response may use; b"" = it is not compressed.
        half_closed: Whether the caller has sent END_STREAM.
        window_delta: Bytes by which the caller has increased this stream's send window above the initial window.
    """

    __slots__ = (
        "__weakref__", "_assembly", "_host", "_on_received", "_received", "_request", "_window", "_writer", "cancelled",
        "deadline_s", "encoding", "half_closed", "id", "window_delta",
    )  # fmt: skip

    streamed = False
    headers_sent = False

    def __init__(self, host: CallHost, writer: ResponseWriter, stream_id: int, request: RequestHeaders) -> None:
        self._host = host
        self._writer = writer
        self._request = request
        # Whether receiving is over: the message was submitted, or the call has ended.
        self._received = False
        # Collects the message where it arrives in several frames.
        self._assembly: MessageAssembly | None = None
        # Called when the message has arrived or will not arrive; None = no slot was reserved for it.
        self._on_received: Callable[[], None] | None = None
        # Initial receive window of the stream, in bytes.
        self._window = writer.inflow.window
        self.id = stream_id
        self.cancelled = False
        timeout_s = request.timeout_s
        self.deadline_s = timeout_s if timeout_s == math.inf else time.monotonic() + timeout_s
        self.encoding = request.answer_encoding
        self.half_closed = False
        self.window_delta = 0

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Metadata of the call, in the order sent."""
        return self._request.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._request.peer

    @property
    def ended(self) -> bool:
        """Whether the stream is closed: the response was sent, or the call was cancelled or reset."""
        return not self._writer.has(self)

    def watch(self) -> None:
        """Expire the call at its deadline, also while the model runs. The lane's thread only.

        :attr:`cancelled` is up to date also without this.
        """
        self._host.watch(self)

    def expire(self) -> None:
        """The deadline has passed: fail the call, or reset it where flow control blocks its response."""
        self.cancelled = True
        self._writer.time_out(self)

    def reply(self, message: EncodedMessage) -> None:
        """Send the response. Any thread; never blocks."""
        if get_ident() == self._host.thread_id:
            self._writer.respond(self, message)
        else:
            self._host.call_soon(partial(self._writer.respond, self, message))

    def fail(self, error: Exception) -> None:
        """Fail the call with the status of an error. Any thread; never blocks."""
        if get_ident() == self._host.thread_id:
            self._writer.fail(self, error)
            if isinstance(error, Overloaded):
                self._host.on_overload()
        else:
            self._host.call_soon(partial(self._writer.fail, self, error))

    # Events of the stream, on the lane's thread.

    def on_data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Receive ``data[begin:end]``, the payload of a DATA frame; ``ends``: END_STREAM was set."""
        size = end - begin - PREFIX_BYTES
        if (
            not self._received
            and self._assembly is None
            # The first byte of the prefix is 0 where the message is not compressed, so all five bytes are its length.
            and 0 <= size == int.from_bytes(data[begin : begin + PREFIX_BYTES]) <= self._host.max_message_bytes
        ):
            # The whole message is in one frame, as nearly always.
            self._received = True
            self.half_closed = ends
            self._host.submit(data[begin + PREFIX_BYTES : end], self)
            return
        if not self._received:
            self._feed(memoryview(data)[begin:end])
        if ends:
            self.half_close()

    @property
    def is_receiving(self) -> bool:
        """Whether the request message is incomplete and may still arrive."""
        return not self._received

    @property
    def missing_bytes(self) -> int:
        """Bytes of the request message that have not arrived; 0 while its length is unknown."""
        buffer = self.receive_buffer
        return 0 if buffer is None else len(buffer)

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next data, to be followed by :meth:`buffer_updated`; None = pass them to :meth:`on_data`."""
        return None if self._assembly is None else self._assembly.receive_buffer

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """The first ``size`` bytes of :attr:`receive_buffer` have been filled; ``ends``: END_STREAM was set."""
        if self._assembly is not None:
            self._on_assembled(self._assembly.buffer_updated(size))
        if ends:
            self.half_close()

    def half_close(self) -> None:
        """The caller has sent END_STREAM. Without a whole message, the call fails."""
        self.half_closed = True
        if not self._received:
            self.refuse(InvalidRequest("the call ended without a request message", reason="NO_MESSAGE"))

    def refuse(self, error: Exception) -> None:
        """Fail a call whose message was not submitted."""
        self._finish_receiving()
        self._host.refuse(error, self)

    def on_window_update(self, size: int) -> None:
        """The caller has increased the send window of the stream by ``size`` bytes."""
        self._writer.increase_window(self, size)

    def on_all_sent(self, window: int) -> None:  # noqa: ARG002  # nothing is sent after it
        """The response, which was blocked by flow control, has been sent."""
        self._writer.remove(self.id)

    def cancel(self) -> None:
        """The caller has cancelled the call or gone away."""
        self.cancelled = True
        if not self._received:
            self._finish_receiving()
            self._host.call_ended()

    def _feed(self, piece: memoryview) -> None:
        """Add a part of the message, which arrives in several frames."""
        assembly = self._assembly
        if assembly is None:
            if self._is_refused_early(piece):
                return
            assembly = self._assembly = MessageAssembly(
                self._host.max_message_bytes, self._host.unfinished, self._request.encoding
            )
        was_known = assembly.size >= 0
        try:
            message = assembly.feed(piece)
        except ServerError as error:
            self.refuse(error)
            return
        missing = assembly.size + PREFIX_BYTES - self._window
        if missing > 0 and not was_known:
            self._writer.write(window_update(self.id, missing))
        self._on_assembled(message)

    def _is_refused_early(self, piece: memoryview) -> bool:
        """Whether the call was refused by the first bytes of its message, so that the rest is not needed."""
        size = int.from_bytes(piece[:PREFIX_BYTES])
        # A compressed message has the first byte set, so this number exceeds any limit: it is not refused here.
        if size > self._host.max_message_bytes:
            return False
        self._on_received = self._host.reserve(piece[PREFIX_BYTES:], self, size)
        if not self.ended:
            return False
        self._finish_receiving()
        if size > NARROW_WINDOW_BYTES:
            self._writer.inflow.narrow(self._writer.streams, time.monotonic())
        return True

    def _on_assembled(self, message: memoryview | None) -> None:
        if message is None or self._assembly is None:
            return
        is_compressed = self._assembly.is_compressed
        self._finish_receiving()
        if not is_compressed:
            self._host.submit(message, self)
            return
        try:
            unpacked = decompress(message, self._request.encoding, self._host.max_message_bytes)
        except ServerError as error:
            self._host.refuse(error, self)
        else:
            self._host.submit_now(unpacked, self)

    def _finish_receiving(self) -> None:
        self._received = True
        if self._on_received is not None:
            self._on_received()
            self._on_received = None
        if self._assembly is not None:
            self._assembly.release()
            self._assembly = None
