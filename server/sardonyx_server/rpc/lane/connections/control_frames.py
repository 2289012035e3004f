"""Validates and handles the client's frames other than HEADERS and DATA (RFC 9113, section 6). No I/O."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.constants import ACK, PRIORITY_BYTES, STREAM_ID_MASK
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import LARGEST_WINDOW_BYTES, SETTING, ErrorCode, FrameType, Setting, frame, rst_stream

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter
    from sardonyx_server.rpc.lane.connections.host import Host
    from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy

__all__ = ["ControlFrames"]

# Pings in too quick succession that are tolerated, as in gRPC's core; the next one closes the connection.
_PING_STRIKES: Final = 2
_PING_BYTES: Final = 8
_GOAWAY_BYTES: Final = 8
_WORD_BYTES: Final = 4
# Type of PRIORITY frames, which are obsolete: they are validated and ignored.
_PRIORITY: Final = 2


class ControlFrames:
    """Handles the control frames of one connection. Methods raise Http2ConnectionError if a frame is invalid.

    Args:
        host: The event loop.
        writer: The response writer of the connection.
        proxy: The proxy of the connection.
    """

    __slots__ = ("_host", "_pinged_s", "_proxy", "_writer")

    def __init__(self, host: Host, writer: ResponseWriter, proxy: ConnectionProxy) -> None:
        self._host = host
        self._writer = writer
        self._proxy = proxy
        self._pinged_s = 0.0

    def handle(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Handle one frame. Unknown types are ignored, as the protocol requires.

        Requires: if the frame belongs to a stream, that stream was opened.
        """
        if kind == FrameType.WINDOW_UPDATE:
            self._on_window_update(stream_id, body)
        elif kind == FrameType.RST_STREAM:
            _word(body)
            self._writer.cancel(stream_id)
        elif kind == FrameType.PING:
            self._on_ping(flags, stream_id, body)
        elif kind == FrameType.SETTINGS:
            self._on_settings(flags, stream_id, body)
        elif (
            kind == FrameType.PUSH_PROMISE
            or (kind == FrameType.GOAWAY and stream_id)
            or (kind == _PRIORITY and not stream_id)
        ):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"a caller may not send a frame of kind {kind} there")
        elif (kind == FrameType.GOAWAY and len(body) < _GOAWAY_BYTES) or (
            kind == _PRIORITY and len(body) != PRIORITY_BYTES
        ):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of kind {kind} has {len(body)} bytes")

    def _on_window_update(self, stream_id: int, body: bytes) -> None:
        writer = self._writer
        size = _word(body) & STREAM_ID_MASK
        if not stream_id:
            if not size:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the connection's window is widened by nothing")
            writer.outflow.increase_window(size)
            writer.resume()
            return
        call = writer.streams.get(stream_id)
        if call is None:
            return
        if size:
            call.on_window_update(size)
        else:
            writer.cancel(stream_id)
            writer.write(rst_stream(stream_id, ErrorCode.PROTOCOL_ERROR))

    def _on_ping(self, flags: int, stream_id: int, body: bytes) -> None:
        _require_connection(stream_id)
        if len(body) != _PING_BYTES:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a ping is damaged")
        if flags & ACK:
            return
        now_s = time.monotonic()
        if now_s - self._pinged_s < self._host.min_ping_interval_s:
            self._writer.ping_strikes += 1
            if self._writer.ping_strikes > _PING_STRIKES:
                raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._pinged_s = now_s
        self._writer.write(frame(FrameType.PING, ACK, 0, body))

    def _on_settings(self, flags: int, stream_id: int, body: bytes) -> None:
        _require_connection(stream_id)
        if len(body) % SETTING.size or (flags & ACK and body):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "settings are damaged")
        if flags & ACK:
            return
        outflow = self._writer.outflow
        # The last value of a repeated setting counts. A client could repeat one ten thousand times.
        for name, value in dict(SETTING.iter_unpack(body)).items():
            if name == Setting.MAX_FRAME_SIZE:
                outflow.set_max_frame_bytes(value)
            elif name == Setting.INITIAL_WINDOW_SIZE:
                # Only calls that have sent no response: outflow knows the windows of the others, which are smaller by
                # the bytes already sent.
                begun = (call.window_delta for call in self._writer.streams.values() if outflow.queue(call.id) is None)
                window_delta = max(begun, default=0)
                if value + window_delta > LARGEST_WINDOW_BYTES:
                    raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is out of bounds")
                outflow.set_initial_window(value)
                self._proxy.set_initial_window(value)
            elif name == Setting.ENABLE_PUSH and value > 1:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        self._writer.write(frame(FrameType.SETTINGS, ACK, 0, b""))
        self._writer.resume()


def _require_connection(stream_id: int) -> None:
    if stream_id:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} has a frame of the connection")


def _word(body: bytes) -> int:
    """Decode a body of four bytes."""
    if len(body) != _WORD_BYTES:
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame has {len(body)} bytes where 4 are due")
    return int.from_bytes(body)
