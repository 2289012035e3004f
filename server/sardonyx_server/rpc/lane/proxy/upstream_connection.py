"""A connection to the grpcio server, for the streams that are not the lane's own: see proxied_stream.py. No I/O.

Streams keep their ids. Request headers are decoded and encoded again, because a client has one dynamic table for all
its streams. The grpcio server is asked for headers without a dynamic table, and those are forwarded as they are. Flow
control works end to end: what one side does not accept is not read from the other.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.flow_control.outflow import Outflow
from sardonyx_server.rpc.lane.messages.response_frames import header_frames
from sardonyx_server.rpc.lane.proxy.proxied_stream import ProxiedStream
from sardonyx_server.rpc.lane.proxy.shutdown_status import rewrite_cancelled
from sardonyx_server.rpc.lane.proxy.upstream_frame_reader import UpstreamFrameReader
from sardonyx_server.rpc.other_rpcs.peer import PEER_KEY, peer_value
from sardonyx_wire.http2.constants import ACK, END_STREAM
from sardonyx_wire.http2.frames import (
    DEFAULT_WINDOW_BYTES,
    PREFACE,
    SETTING,
    ErrorCode,
    FrameType,
    Setting,
    frame,
    rst_stream,
    settings,
    window_update,
)
from sardonyx_wire.http2.hpack import encode_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy
    from sardonyx_wire.http2.errors import Http2ConnectionError
    from sardonyx_wire.http2.hpack import Field

__all__ = ["UpstreamConnection"]

# Connection window of the grpcio server: what it may send ahead of a client that reads slowly.
_WINDOW_BYTES: Final = 1 << 20
_RETURNED_BYTES: Final = 1 << 18
# Most bytes of headers that wait for the grpcio server. They are encoded in full: a client that repeated long fields
# from its dynamic table, in a few bytes each, made 1.5 GB out of 2.4 MB (2026-11-26).
_MAX_BACKLOG_BYTES: Final = 4 << 20
_PEER_KEY: Final = PEER_KEY.encode()


class UpstreamConnection:
    """Carries the streams of one client connection.

    Args:
        proxy: The client's side.
        schedule_write: Called with this object when it has something to write.

    Attributes:
        outflow: What is sent to the grpcio server.
        accepts_streams: Whether new streams may be opened on it.
        finished: Whether it is to be closed.
    """

    __slots__ = ("_proxy", "_reader", "_returned", "_streams", "accepts_streams", "finished", "outflow")

    receive_buffer = None
    preface_received = True
    """Constant: the other side is always the grpcio server."""

    def __init__(self, proxy: ConnectionProxy, schedule_write: Callable[[UpstreamConnection], None]) -> None:
        self._proxy = proxy
        self._streams: dict[int, ProxiedStream] = {}
        self._reader = UpstreamFrameReader(self)
        self._returned = 0
        self.accepts_streams = True
        self.finished = False
        self.outflow = Outflow(proxy.send_budget, partial(schedule_write, self))
        self.write(
            PREFACE
            + settings(
                {
                    Setting.HEADER_TABLE_SIZE: 0,
                    Setting.ENABLE_PUSH: 0,
                    Setting.INITIAL_WINDOW_SIZE: proxy.initial_window,
                }
            )
            + window_update(0, _WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
        )

    @property
    def is_backlogged(self) -> bool:
        """Whether the grpcio server has so much to read that no stream may be opened for now."""
        return self.outflow.write_credit < -_MAX_BACKLOG_BYTES

    # From the client.

    def open(self, stream_id: int, fields: list[Field], *, end: bool) -> ProxiedStream:
        """Open a stream. Requires: :attr:`accepts_streams`, and not :attr:`is_backlogged`."""
        stream = self._streams[stream_id] = ProxiedStream(stream_id, self, self._proxy, request_ended=end)
        own = [field for field in fields if field[0] != _PEER_KEY]
        own.append((_PEER_KEY, peer_value(self._proxy.peer)))
        frames = header_frames(stream_id, encode_block(own), end=end)
        # Headers use the same credit as data: what follows waits for the socket.
        self.outflow.write_credit -= len(frames)
        self.write(frames)
        return stream

    def write(self, frames: bytes) -> None:
        """Send frames as they are. Does nothing once the connection is closed: the proxy may still use it."""
        if not self.finished:
            self.outflow.write(frames)

    def close_stream(self, stream: ProxiedStream) -> None:
        """A stream is closed on this connection."""
        self._streams.pop(stream.id, None)
        self.outflow.discard(stream.id)
        stream.closed()

    def close_if_ended(self, stream: ProxiedStream) -> None:
        """Close a stream that both sides have ended. Where only the grpcio server has, it resets the stream too."""
        if stream.response_ended and stream.request_ended:
            self.close_stream(stream)
            self._proxy.closed(stream)

    def set_initial_window(self, size: int) -> None:
        """The client changed its initial window."""
        self.write(settings({Setting.INITIAL_WINDOW_SIZE: size}))

    def return_credit(self, size: int) -> None:
        """Data were sent to the client: return them to the window of the grpcio server."""
        self._returned += size
        if self._returned >= _RETURNED_BYTES:
            self.write(window_update(0, self._returned))
            self._returned = 0

    def close(self) -> None:
        """The client has disconnected."""
        self.finished = True
        self._streams.clear()
        self.outflow.schedule_write()

    # From the grpcio server.

    def buffer_updated(self, size: int) -> None:
        """Never called: there is no :attr:`receive_buffer`."""
        raise AssertionError(f"bug: {size} bytes were put into no buffer")

    def receive(self, data: bytes) -> None:
        """Bytes were read from the grpcio server.

        Raises:
            Http2ConnectionError: It broke the protocol.
        """
        self._reader.receive(data)

    def written(self) -> None:
        """The socket has accepted all output: more may be sent."""
        self.outflow.written()
        self.outflow.resume()

    def abort(self, error: Http2ConnectionError) -> None:  # noqa: ARG002  # the client need not know
        """The grpcio server broke the protocol."""
        self.connection_lost()
        # So that the socket is closed.
        self.outflow.schedule_write()

    def connection_lost(self) -> None:
        """The connection is lost, and all streams with it."""
        self.accepts_streams = False
        self.finished = True
        for stream in list(self._streams.values()):
            # REFUSED_STREAM: a call without a response may safely be retried.
            self._reset_stream(stream, ErrorCode.CANCEL if stream.headers_sent else ErrorCode.REFUSED_STREAM)

    def on_headers(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        """A complete header block arrived."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            if ends and self._proxy.stopping:
                block = rewrite_cancelled(block, first=not stream.headers_sent)
            stream.headers_sent = True
            self._proxy.send_downstream(stream, header_frames(stream.id, block, end=ends), self)
            stream.response_ended = ends
            self.close_if_ended(stream)

    def on_frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Any other frame arrived."""
        stream = self._streams.get(stream_id)
        if kind == FrameType.DATA:
            self._on_data(stream, flags, body)
        elif kind == FrameType.WINDOW_UPDATE:
            self._on_window_update(stream, stream_id, int.from_bytes(body))
        elif kind == FrameType.RST_STREAM and stream is not None:
            self._reset_stream(stream, int.from_bytes(body))
        elif kind == FrameType.SETTINGS and not flags & ACK:
            self._on_settings(body)
        elif kind == FrameType.PING and not flags & ACK:
            self.write(frame(FrameType.PING, ACK, 0, body))
        elif kind == FrameType.GOAWAY:
            self._on_goaway(int.from_bytes(body[:4]))

    def _on_data(self, stream: ProxiedStream | None, flags: int, body: bytes) -> None:
        if stream is None:
            self.return_credit(len(body))  # The stream was closed by the client.
            return
        if body:
            self._proxy.send_downstream(stream, memoryview(body), self)
        if flags & END_STREAM:
            self._proxy.send_downstream(stream, frame(FrameType.DATA, END_STREAM, stream.id, b""), self)
            stream.response_ended = True
            self.close_if_ended(stream)

    def _on_settings(self, body: bytes) -> None:
        outflow = self.outflow
        for name, value in SETTING.iter_unpack(body):
            if name == Setting.MAX_FRAME_SIZE:
                outflow.set_max_frame_bytes(value)
            elif name == Setting.INITIAL_WINDOW_SIZE:
                change = value - outflow.initial_window
                for stream in self._streams.values():
                    if outflow.queue(stream.id) is None:
                        stream.queue.window += change
                outflow.set_initial_window(value)
        self.write(frame(FrameType.SETTINGS, ACK, 0, b""))
        self.outflow.resume()

    def _on_window_update(self, stream: ProxiedStream | None, stream_id: int, size: int) -> None:
        if not stream_id:
            self.outflow.increase_window(size)
            self.outflow.resume()
        elif stream is not None:
            stream.queue.window += size
            self.outflow.resume(stream.queue)

    def _on_goaway(self, last_id: int) -> None:
        self.accepts_streams = False
        for stream in list(self._streams.values()):
            if stream.id > last_id:
                self._reset_stream(stream, ErrorCode.REFUSED_STREAM)
            else:
                stream.shorten_timeout()

    def _reset_stream(self, stream: ProxiedStream, code: int) -> None:
        """The grpcio server reset a stream, or is gone."""
        self.close_stream(stream)
        self._proxy.send_downstream(stream, rst_stream(stream.id, code), self)
        self._proxy.closed(stream)
