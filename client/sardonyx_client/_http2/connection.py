"""The client side of one HTTP/2 connection that carries unary calls, without I/O (RFC 9113).

Received bytes go in through :attr:`Http2Connection.buffer` and :meth:`Http2Connection.buffer_updated`; bytes to send
come out of :meth:`Http2Connection.data_to_send`. It works for threads and for event loops, and depends on neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_client._http2.flow_control import SendFlowControl
from sardonyx_client._http2.frame_reader import FrameReader
from sardonyx_client._http2.response import Response
from sardonyx_client._http2.stream import Stream
from sardonyx_wire.http2.constants import ACK, END_HEADERS, HEADERS
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import (
    SETTING,
    ErrorCode,
    FrameType,
    Setting,
    frame,
    frame_header,
    rst_stream,
    window_update,
)
from sardonyx_wire.http2.hpack import HpackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._http2.response_headers import HeaderDecoder

__all__ = ["Http2Connection"]

# Received bytes after which the connection's window is replenished: half of it, so that no call ever waits for it.
_WINDOW_UPDATE_BYTES: Final = 1 << 30
_LAST_STREAM_ID: Final = 2**31 - 1


class Http2Connection:
    """State of one connection. Not thread-safe.

    Args:
        header_decoder: Decodes the server's header blocks. Connections may share one.
        max_message_bytes: Largest response message accepted; None = no limit but the protocol's.

    Attributes:
        ready: Whether the server has sent its SETTINGS, so it speaks HTTP/2.
        draining: Whether no new call may start any more: GOAWAY was received, or stream ids are used up.
    """

    def __init__(self, header_decoder: HeaderDecoder, max_message_bytes: int | None) -> None:
        self.ready = False
        self.draining = False
        self._header_decoder = header_decoder
        self._max_message_bytes = max_message_bytes
        self._frames = FrameReader(self)
        self._streams: dict[int, Stream] = {}
        self._send_flow = SendFlowControl()
        # Streams that the server ended before the whole request was sent. Unless it resets them itself, this side does.
        self._unwanted: set[int] = set()
        self._next_id = 1
        self._window_used_bytes = 0
        self._max_streams = _LAST_STREAM_ID
        # Frames of unknown types are ignored (RFC 9113, section 4.1).
        self._handlers: dict[int, Callable[[int, int, memoryview], None]] = {
            FrameType.RST_STREAM: self._rst_stream,
            FrameType.SETTINGS: self._settings,
            FrameType.PUSH_PROMISE: self._push_promise,
            FrameType.PING: self._ping,
            FrameType.GOAWAY: self._goaway,
            FrameType.WINDOW_UPDATE: self._window_update,
        }

    @property
    def usable(self) -> bool:
        """Whether a new call may start."""
        return self.ready and not self.draining and len(self._streams) < self._max_streams

    @property
    def outbox(self) -> list[bytes | memoryview]:
        """Data waiting to be sent, in order; :meth:`data_to_send` removes it."""
        return self._send_flow.outbox

    @property
    def open_streams(self) -> int:
        """Number of calls in flight."""
        return len(self._streams)

    @property
    def buffer(self) -> memoryview:
        """Where to receive the next bytes; never empty. Then call :meth:`buffer_updated`."""
        return self._frames.buffer

    def buffer_updated(self, size: int) -> None:
        """``size`` bytes were received into :attr:`buffer`.

        Raises:
            Http2ConnectionError: The server violated the protocol.
        """
        self._frames.buffer_updated(size)
        if self._unwanted:
            self.outbox.extend(rst_stream(one, ErrorCode.CANCEL) for one in self._unwanted)
            self._unwanted.clear()

    def open_stream(self, block: bytes, message: bytes) -> Stream:
        """Start a call. Requires: :attr:`usable`.

        Args:
            block: Header block of the request; must fit in one frame.
            message: Message of the request; not copied.
        """
        stream_id = self._next_id
        self._next_id = stream_id + 2
        self.draining = self._next_id > _LAST_STREAM_ID
        stream = Stream(stream_id, Response(self._max_message_bytes), message, self._send_flow.initial_window)
        self._streams[stream_id] = stream
        self.outbox.extend((frame_header(HEADERS, END_HEADERS, stream_id, len(block)), block))
        self._send_flow.enqueue(stream)
        return stream

    def cancel_stream(self, stream: Stream) -> None:
        """Cancel a call and reset its stream. Does nothing if the call has ended."""
        if self._streams.pop(stream.id, None) is not None:
            self._send_flow.discard(stream)
            self.outbox.append(rst_stream(stream.id, ErrorCode.CANCEL))

    def connection_lost(self, reason: str) -> None:
        """The connection is lost: fail its calls."""
        self.draining = True
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            self._send_flow.discard(stream)
            # The server cannot process a request whose message is incomplete.
            stream.response.connection_lost(reason, unprocessed=not stream.sent)

    def data_to_send(self) -> list[bytes | memoryview]:
        """Remove and return the data to send now, in order. Parts may be views of messages."""
        parts = self._send_flow.outbox
        self._send_flow.outbox = []
        return parts

    def data_sent(self) -> bool:
        """All of :meth:`data_to_send` was written. Must be called each time; returns whether there is more to send."""
        self._send_flow.data_sent()
        return bool(self._send_flow.outbox)

    def data_buffer(self, stream_id: int) -> memoryview | None:
        """See ``FrameReader``'s sink, as for the next five methods."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.response.buffer

    def data_buffer_updated(self, stream_id: int, size: int, *, end: bool) -> None:
        """Data was received into :meth:`data_buffer`."""
        stream = self._streams[stream_id]
        stream.response.buffer_updated(size)
        if end:
            self._response_ended(stream)
            stream.response.ended_without_status()

    def data_received(self, stream_id: int, view: memoryview, *, end: bool) -> None:
        """A DATA frame, or a part of one."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_known(stream_id)
            return
        response = stream.response
        response.data_received(view)
        if end:
            self._response_ended(stream)
            response.ended_without_status()
        elif response.ended:
            self.cancel_stream(stream)

    def headers_received(self, stream_id: int, block: bytes, *, end: bool) -> None:
        """A complete header block."""
        stream = self._streams.get(stream_id)
        if stream is None:
            # The call was cancelled. Without a dynamic table, a header block need not be decoded.
            self._check_known(stream_id)
            return
        try:
            headers = self._header_decoder.decode(block)
        except HpackError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        if end:
            self._response_ended(stream)
        stream.response.headers_received(headers, end=end)
        if not end and stream.response.ended:
            self.cancel_stream(stream)

    def frame_received(self, kind: int, flags: int, stream_id: int, body: memoryview) -> None:
        """Any other frame."""
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(flags, stream_id, body)

    def window_used(self, size: int) -> None:
        """Data used a part of the connection's receive window. A stream's window is as large as a message can be."""
        self._window_used_bytes += size
        if self._window_used_bytes >= _WINDOW_UPDATE_BYTES:
            self.outbox.append(window_update(0, self._window_used_bytes))
            self._window_used_bytes = 0

    def _check_known(self, stream_id: int) -> None:
        if stream_id >= self._next_id or not stream_id & 1:
            raise Http2ConnectionError(
                ErrorCode.PROTOCOL_ERROR, f"the server answers on stream {stream_id}, which is none"
            )

    def _response_ended(self, stream: Stream) -> None:
        """The server has ended the stream, so the rest of the request, if any, is not sent."""
        self._streams.pop(stream.id, None)
        if self._send_flow.discard(stream):
            self._unwanted.add(stream.id)

    def _rst_stream(self, _flags: int, stream_id: int, body: memoryview) -> None:
        code = _uint32(body)
        self._check_known(stream_id)
        self._unwanted.discard(stream_id)
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._send_flow.discard(stream)
            stream.response.stream_reset(code)

    def _settings(self, flags: int, stream_id: int, body: memoryview) -> None:
        if stream_id or len(body) % SETTING.size or (flags & ACK and body):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent damaged settings")
        if flags & ACK:
            return
        for name, value in SETTING.iter_unpack(body):
            if name == Setting.MAX_CONCURRENT_STREAMS:
                self._max_streams = value
            elif name == Setting.MAX_FRAME_SIZE:
                self._send_flow.set_max_frame_size(value)
            elif name == Setting.INITIAL_WINDOW_SIZE:
                self._send_flow.set_initial_window(value, self._streams.values())
        self.ready = True
        self.outbox.append(frame(FrameType.SETTINGS, ACK, 0, b""))
        self._send_flow.resume()

    def _push_promise(self, _flags: int, _stream_id: int, _body: memoryview) -> None:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server pushes, which was not agreed")

    def _ping(self, flags: int, stream_id: int, body: memoryview) -> None:
        if stream_id or len(body) != 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent a damaged ping")
        if not flags & ACK:
            self.outbox.append(frame(FrameType.PING, ACK, 0, bytes(body)))

    def _goaway(self, _flags: int, stream_id: int, body: memoryview) -> None:
        if stream_id or len(body) < 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent a damaged goodbye")
        self.draining = True
        last = _uint32(body[:4]) & _LAST_STREAM_ID
        for stream in [stream for stream in self._streams.values() if stream.id > last]:
            del self._streams[stream.id]
            self._send_flow.discard(stream)
            stream.response.connection_lost("the server closes the connection", unprocessed=True)

    def _window_update(self, _flags: int, stream_id: int, body: memoryview) -> None:
        size = _uint32(body) & _LAST_STREAM_ID
        if stream_id:
            stream = self._streams.get(stream_id)
            if stream is not None:
                stream.window += size
        else:
            self._send_flow.increase_window(size)
        self._send_flow.resume()


def _uint32(body: memoryview) -> int:
    """Decode four bytes."""
    if len(body) != 4:
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"the server sent {len(body)} bytes where 4 are due")
    return int.from_bytes(body)
