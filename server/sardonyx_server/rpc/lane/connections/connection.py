"""One client's connection (RFC 9113): opens streams and dispatches frames to them. No I/O; runs on the lane's thread.

A ModelInfer is a LaneCall, a ModelStreamInfer a LaneStream. Every other HTTP/2 stream is a ProxiedStream, which is
forwarded to the grpcio server. All three have the same interface for what the client sends: see http2_stream.py.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.errors import MessageTooLarge, Overloaded
from sardonyx_server.rpc.lane.calls.call import LaneCall
from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter
from sardonyx_server.rpc.lane.calls.stream import LaneStream
from sardonyx_server.rpc.lane.connections.bad_preface import BadPreface, HandshakeFailed
from sardonyx_server.rpc.lane.connections.control_frames import ControlFrames
from sardonyx_server.rpc.lane.connections.frame_reader import FrameReader
from sardonyx_server.rpc.lane.flow_control.inflow import NARROW_WINDOW_BYTES, STREAM_WINDOW_BYTES
from sardonyx_server.rpc.lane.messages.request_headers import MAX_HEADER_LIST_BYTES, RequestReader
from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy
from sardonyx_server.rpc.lane.proxy.shutdown_status import SHUTDOWN_STATUS
from sardonyx_server.rpc.status import Status
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import (
    DEFAULT_WINDOW_BYTES,
    LARGEST_WINDOW_BYTES,
    MAX_FRAME_BYTES,
    ErrorCode,
    FrameType,
    Setting,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from sardonyx_wire.http2.hpack import HeaderListTooLarge, HpackError

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.connections.host import Host
    from sardonyx_server.rpc.lane.messages.request_headers import RequestHeaders

__all__ = ["Connection"]

_MAX_STREAMS: Final = 1 << 16
# Bytes of the connection's window that may be used up before a WINDOW_UPDATE returns them. The window is so much larger
# that no call ever waits for it.
_RETURNED_BYTES: Final = 1 << 28
# Response bytes of one client that flow control may block even while the send budget is exhausted: the client may be
# reading, if slowly.
_MAX_BLOCKED_BYTES: Final = 16 << 20
_HUGE_BYTES: Final = 1 << 30
_UNAVAILABLE: Final[int] = grpc.StatusCode.UNAVAILABLE.value[0]

_SERVER_PREFACE: Final = settings(
    {
        Setting.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
        Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        Setting.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
    }
) + window_update(0, LARGEST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)


class Connection:
    """One client's connection.

    Args:
        host: The event loop.
        peer: Address of the client, in gRPC's form.

    Attributes:
        outflow: Send queue of the connection.
    """

    __slots__ = (
        "_broken", "_control_frames", "_frames", "_goaway_last_id", "_goaway_sent", "_header_cache", "_headers_decoder",
        "_host", "_last_id", "_peer", "_preface_pending", "_proxy", "_streams", "_used", "_writer", "outflow",
    )  # fmt: skip

    def __init__(self, host: Host, peer: str) -> None:
        self._host = host
        self._peer = peer
        self._writer = ResponseWriter(host, peer, partial(host.schedule_write, self))
        self.outflow = self._writer.outflow
        self._streams = self._writer.streams
        self._frames = FrameReader(self)
        self._headers_decoder = RequestReader(peer, host.compression)
        self._header_cache = self._headers_decoder.known
        self._proxy = ConnectionProxy(host, self._writer)
        self._control_frames = ControlFrames(host, self._writer, self._proxy)
        self._last_id = 0
        # ID of the last stream that we process, as sent in GOAWAY.
        self._goaway_last_id = 0
        # Whether GOAWAY was sent, after which no calls are accepted; whether the client violated the protocol.
        self._goaway_sent = self._broken = False
        self._used = 0
        # Our preface waits for the client's: to an HTTP/1.1 client it would be garbage in front of the response.
        self._preface_pending = True

    @property
    def preface_received(self) -> bool:
        """Whether the client has sent the preface of HTTP/2."""
        return self._frames.preface_received

    @property
    def finished(self) -> bool:
        """Whether the connection can be closed once all output is written."""
        return self._broken or (self._goaway_sent and not self._streams and not self.outflow.blocked_bytes)

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next bytes, followed by :meth:`buffer_updated`; None = use :meth:`receive`."""
        data_left = self._frames.data_left
        if not data_left:
            return None
        call = self._streams.get(self._frames.data_stream_id)
        buffer = None if call is None else call.receive_buffer
        return None if buffer is None else buffer[:data_left]

    @property
    def receiving(self) -> list[LaneCall | LaneStream]:
        """The lane's own calls whose message has not arrived completely."""
        return [
            call for call in self._streams.values() if isinstance(call, LaneCall | LaneStream) and call.is_receiving
        ]

    def receive(self, data: bytes) -> None:
        """Process bytes of the client. Raises Http2ConnectionError, upon which :meth:`abort` must be called."""
        if not self._broken:
            self._frames.receive(data)

    def buffer_updated(self, size: int) -> None:
        """``size`` bytes were read into :attr:`receive_buffer`."""
        frames = self._frames
        frames.buffer_updated(size)
        self._streams[frames.data_stream_id].buffer_updated(size, ends=frames.data_ends and not frames.data_left)

    def written(self) -> None:
        """The socket has accepted all output: more may be sent."""
        self.outflow.written()
        self._writer.resume()

    def abort(self, error: Http2ConnectionError) -> None:
        """Tell the client that it violated the protocol, and cancel everything on the connection.

        Each call gets the reason as its status, because not all clients report the reason in GOAWAY.
        """
        self._broken = True
        if isinstance(error, BadPreface | HandshakeFailed):
            self._host.bad_prefaces.record(self._peer, error)
            if error.answer and self._preface_pending:
                self._writer.write(error.answer)
                return
        self.send_preface()
        text = f"the server ended the connection: {error}"
        # Without details: there may be many calls, and the output must stay small.
        self._writer.terminate_all(Status(code=_UNAVAILABLE, message=text, trailing=()), proxied=True)
        self.connection_lost()
        # gRPC clients recognize "too_many_pings", and ping half as often from then on.
        self._writer.write(goaway(error.code, last_id=self._goaway_last_id or self._last_id, text=str(error)))

    def send_goaway(self) -> None:
        """Accept no more calls: the client sends new calls to another server."""
        if not self._goaway_sent:
            self.send_preface()
            self._goaway_sent = True
            self._goaway_last_id = self._last_id
            self._writer.write(goaway(ErrorCode.NO_ERROR, last_id=self._last_id))

    def cancel_all(self) -> None:
        """The grace period is over: end the lane's own calls. The grpcio server ends the proxied ones."""
        self._writer.terminate_all(SHUTDOWN_STATUS, proxied=False)

    def connection_lost(self) -> None:
        """The connection is closed: cancel its calls."""
        for stream_id in list(self._streams):
            self._writer.cancel(stream_id)
        self.outflow.discard_all()
        self._proxy.close()

    # Called by the frame reader: see FrameListener in frame_reader.py.

    def on_preface(self) -> None:
        """The client has sent its connection preface."""
        self.send_preface()

    def send_preface(self) -> None:
        """Send the server's connection preface, its SETTINGS, unless it was sent already. Before all other frames."""
        if self._preface_pending:
            self._preface_pending = False
            self._writer.write(_SERVER_PREFACE)

    def on_window_used(self, size: int) -> None:
        """``size`` more bytes of the connection's window are used up."""
        self._used += size
        if self._used >= _RETURNED_BYTES:
            self._writer.write(window_update(0, self._used))
            self._used = 0

    def on_data(self, stream_id: int, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # as in FrameListener
        """DATA of a stream has arrived."""
        used = self._used + end - begin
        if used >= _RETURNED_BYTES:
            self.on_window_used(end - begin)
        else:
            self._used = used
        call = self._streams.get(stream_id)
        if call is None:
            self._check_known(stream_id)
        else:
            call.on_data(data, begin, end, ends)

    def on_padding(self, stream_id: int, size: int) -> None:
        """``size`` bytes of DATA were padding. Returns them to the stream's window, since nobody else will."""
        if stream_id in self._streams:
            self._writer.write(window_update(stream_id, size))

    def on_headers(self, stream_id: int, block: bytes, ends: bool) -> None:  # noqa: FBT001  # likewise
        """A complete header block has arrived."""
        request = self._header_cache.get(block) or self._read(block)
        if stream_id <= self._last_id or not stream_id & 1:
            self._trailers(stream_id, ends=ends)
            return
        self._last_id = stream_id
        inflow = self._writer.inflow
        if inflow.window == NARROW_WINDOW_BYTES and inflow.narrow_until_s <= time.monotonic():
            self._widen()
        if self._goaway_sent or len(self._streams) >= _MAX_STREAMS:
            self._writer.write(rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
        elif request.is_grpc and (kind := self._host.methods.get(request.path)) is not None:
            self._open(kind, stream_id, request, ends)
        else:
            self._open_proxied(stream_id, request, ends=ends)

    def on_control(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Any other frame came."""
        if kind == FrameType.RST_STREAM or (kind == FrameType.WINDOW_UPDATE and stream_id):
            self._check_known(stream_id)
        self._control_frames.handle(kind, flags, stream_id, body)

    def _read(self, block: bytes) -> RequestHeaders:
        try:
            return self._headers_decoder.read(block)
        except HeaderListTooLarge as error:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except HpackError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def _open(
        self,
        kind: type[LaneCall | LaneStream],
        stream_id: int,
        request: RequestHeaders,
        ends: bool,  # noqa: FBT001  # likewise
    ) -> None:
        host = self._host
        call = self._streams[stream_id] = kind(host, self._writer, stream_id, request)
        if kind is not LaneCall:
            self._writer.inflow.grant(stream_id)
        try:
            host.call_started(call, request)
        except Exception as error:  # noqa: BLE001  # the caller gets its status; the lane goes on
            call.refuse(error)
            return
        if request.header_list_bytes > MAX_HEADER_LIST_BYTES:
            text = f"the metadata is larger than max: it has {request.header_list_bytes} bytes"
            call.refuse(MessageTooLarge(f"{text}, {MAX_HEADER_LIST_BYTES} are accepted; send less of it"))
        elif self.outflow.blocked_bytes > _MAX_BLOCKED_BYTES and self._host.send_budget.is_exhausted:
            text = f"{self.outflow.blocked_bytes} bytes of answers wait to be taken on this connection"
            call.refuse(Overloaded(f"{text}, and no more may wait on this server: take them first"))
        elif ends:
            call.half_close()

    def _open_proxied(self, stream_id: int, request: RequestHeaders, *, ends: bool) -> None:
        stream = self._proxy.open(stream_id, request.fields, ends=ends)
        if stream is None:
            self._writer.write(rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
        else:
            self._streams[stream_id] = stream
            self._writer.inflow.grant(stream_id)

    def _widen(self) -> None:
        """Widen the streams' windows to their initial size again."""
        # A window may not exceed the maximum of HTTP/2; that of a message of gigabytes would.
        if not any(isinstance(call, LaneCall) and call.missing_bytes > _HUGE_BYTES for call in self._streams.values()):
            self._writer.inflow.widen(self._streams, time.monotonic())

    def _trailers(self, stream_id: int, *, ends: bool) -> None:
        """A second header block of a stream. gRPC requests have no trailers, so it only ends the stream."""
        self._check_known(stream_id)
        if not ends:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} has a second header")
        call = self._streams.get(stream_id)
        if call is not None:
            call.half_close()

    def _check_known(self, stream_id: int) -> None:
        """Raise Http2ConnectionError if the stream was never opened. Frames of ended streams are ignored."""
        if stream_id > self._last_id or not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
