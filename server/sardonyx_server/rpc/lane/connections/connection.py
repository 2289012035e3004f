"""One caller's connection: which stream is whose (RFC 9113). No I/O; all of it on the lane's thread.

A ModelInfer is a LaneCall, a ModelStreamInfer a LaneStream. Every other stream of HTTP/2 is a ProxiedStream, which goes
on to the grpcio server. All three are told alike what the caller sends: see open_stream.py.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.errors import MessageTooLarge, Overloaded
from sardonyx_server.rpc.lane.calls.call import LaneCall
from sardonyx_server.rpc.lane.calls.replies import Replies
from sardonyx_server.rpc.lane.calls.stream import LaneStream
from sardonyx_server.rpc.lane.connections.control import Control
from sardonyx_server.rpc.lane.connections.frame_reader import FrameReader
from sardonyx_server.rpc.lane.connections.stranger import HandshakeFailed, Stranger
from sardonyx_server.rpc.lane.flow_control.inflow import NARROW_WINDOW_BYTES, STREAM_WINDOW_BYTES
from sardonyx_server.rpc.lane.messages.request import MAX_HEADER_LIST_BYTES, RequestReader
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
    from sardonyx_server.rpc.lane.messages.request import Request

__all__ = ["Connection"]

_MAX_STREAMS: Final = 1 << 16
# How much of the connection's window is used up before the caller gets it back: no call ever waits for it.
_RETURNED_BYTES: Final = 1 << 28
# So much may be held back of the answers of one caller whatever else is: it reads on, if slowly.
_MAX_BLOCKED_BYTES: Final = 16 << 20
_HUGE_BYTES: Final = 1 << 30
_UNAVAILABLE: Final[int] = grpc.StatusCode.UNAVAILABLE.value[0]

_GREETING: Final = settings(
    {
        Setting.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
        Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        Setting.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
    }
) + window_update(0, LARGEST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)


class Connection:
    """See the module.

    Args:
        host: The lane.
        peer: Address of the caller, in gRPC's form.

    Attributes:
        outflow: What goes to the caller.
    """

    __slots__ = (
        "_broken", "_control", "_frames", "_going", "_goodbye_id", "_host", "_known", "_last_id", "_peer", "_proxy",
        "_replies", "_requests", "_silent", "_streams", "_used", "outflow",
    )  # fmt: skip

    def __init__(self, host: Host, peer: str) -> None:
        self._host = host
        self._peer = peer
        self._replies = Replies(host, peer, partial(host.schedule_write, self))
        self.outflow = self._replies.outflow
        self._streams = self._replies.streams
        self._frames = FrameReader(self)
        self._requests = RequestReader(peer, host.compression)
        self._known = self._requests.known
        self._proxy = ConnectionProxy(host, self._replies)
        self._control = Control(host, self._replies, self._proxy)
        self._last_id = 0
        # The last stream that is dealt with, as the caller was told.
        self._goodbye_id = 0
        # It takes no more calls; it broke the protocol.
        self._going = self._broken = False
        self._used = 0
        # Nothing was said yet: to who speaks HTTP/1.1 our greeting would be rubbish in front of its answer.
        self._silent = True

    @property
    def greeted(self) -> bool:
        """Whether the caller has said that it speaks HTTP/2."""
        return self._frames.greeted

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be said, once all is written."""
        return self._broken or (self._going and not self._streams and not self.outflow.blocked_bytes)

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes of the caller may be put, told by :meth:`filled`; None where they go to receive()."""
        left = self._frames.left
        if not left:
            return None
        call = self._streams.get(self._frames.left_id)
        room = None if call is None else call.room
        return None if room is None else room[:left]

    @property
    def awaited(self) -> list[LaneCall | LaneStream]:
        """Calls of the lane's own whose message has not come whole."""
        return [call for call in self._streams.values() if isinstance(call, LaneCall | LaneStream) and call.is_awaited]

    def receive(self, data: bytes) -> None:
        """Bytes of the caller. Raises Http2ConnectionError: then :meth:`break_off`."""
        if not self._broken:
            self._frames.receive(data)

    def filled(self, size: int) -> None:
        """So many bytes were put into :attr:`room`."""
        frames = self._frames
        frames.filled(size)
        self._streams[frames.left_id].filled(size, ends=frames.left_ends and not frames.left)

    def written(self) -> None:
        """The socket has taken all there was: more may be sent."""
        self.outflow.written()
        self._replies.resume()

    def break_off(self, error: Http2ConnectionError) -> None:
        """The caller broke the protocol: say so. What is under way on the connection is lost.

        Each call gets the reason as its status: not all clients have an ear for that of the connection.
        """
        self._broken = True
        if isinstance(error, Stranger | HandshakeFailed):
            self._host.strangers.came(self._peer, error)
            if error.answer and self._silent:
                self._replies.write(error.answer)
                return
        self.greet()
        text = f"the server ended the connection: {error}"
        # Without details: there may be many calls, and this must not be much.
        self._replies.cut_off(Status(code=_UNAVAILABLE, message=text, trailing=()), proxied=True)
        self.lost()
        # gRPC's clients know "too_many_pings", and ping half as often from then on.
        self._replies.write(goaway(error.code, last_id=self._goodbye_id or self._last_id, text=str(error)))

    def say_goodbye(self) -> None:
        """Take no more calls: those that come are for another server."""
        if not self._going:
            self.greet()
            self._going = True
            self._goodbye_id = self._last_id
            self._replies.write(goaway(ErrorCode.NO_ERROR, last_id=self._last_id))

    def cancel_all(self) -> None:
        """The server's time to stop is up: end what is under way here. What is proxied the grpcio server ends."""
        self._replies.cut_off(SHUTDOWN_STATUS, proxied=False)

    def lost(self) -> None:
        """The connection is gone, and so are its calls."""
        for stream_id in list(self._streams):
            self._replies.drop(stream_id)
        self.outflow.discard_all()
        self._proxy.close()

    # What the caller sends: see frame_reader.py.

    def greet(self) -> None:
        """The caller has said that it speaks HTTP/2: say so, too. Once; before all else that is said."""
        if self._silent:
            self._silent = False
            self._replies.write(_GREETING)

    def used(self, size: int) -> None:
        """So much of the connection's window is used up."""
        self._used += size
        if self._used >= _RETURNED_BYTES:
            self._replies.write(window_update(0, self._used))
            self._used = 0

    def data(self, stream_id: int, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # as its Sink
        """Data of a stream came."""
        used = self._used + end - begin
        if used >= _RETURNED_BYTES:
            self.used(end - begin)
        else:
            self._used = used
        call = self._streams.get(stream_id)
        if call is None:
            self._check_known(stream_id)
        else:
            call.data(data, begin, end, ends)

    def padded(self, stream_id: int, size: int) -> None:
        """So many bytes of data were padding: nobody will ever read them."""
        if stream_id in self._streams:
            self._replies.write(window_update(stream_id, size))

    def header(self, stream_id: int, block: bytes, ends: bool) -> None:  # noqa: FBT001  # likewise
        """A whole header came."""
        request = self._known.get(block) or self._read(block)
        if stream_id <= self._last_id or not stream_id & 1:
            self._trailers(stream_id, ends=ends)
            return
        self._last_id = stream_id
        inflow = self._replies.inflow
        if inflow.window == NARROW_WINDOW_BYTES and inflow.narrow_until_s <= time.monotonic():
            self._widen()
        if self._going or len(self._streams) >= _MAX_STREAMS:
            self._replies.write(rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
        elif request.is_grpc and (kind := self._host.methods.get(request.path)) is not None:
            self._open(kind, stream_id, request, ends)
        else:
            self._open_proxied(stream_id, request, ends=ends)

    def control(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Any other frame came."""
        if kind == FrameType.RST_STREAM or (kind == FrameType.WINDOW_UPDATE and stream_id):
            self._check_known(stream_id)
        self._control.take(kind, flags, stream_id, body)

    def _read(self, block: bytes) -> Request:
        try:
            return self._requests.read(block)
        except HeaderListTooLarge as error:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except HpackError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def _open(
        self,
        kind: type[LaneCall | LaneStream],
        stream_id: int,
        request: Request,
        ends: bool,  # noqa: FBT001  # likewise
    ) -> None:
        host = self._host
        call = self._streams[stream_id] = kind(host, self._replies, stream_id, request)
        if kind is not LaneCall:
            self._replies.inflow.grant(stream_id)
        try:
            host.begun(call, request)
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

    def _open_proxied(self, stream_id: int, request: Request, *, ends: bool) -> None:
        stream = self._proxy.open(stream_id, request.fields, ends=ends)
        if stream is None:
            self._replies.write(rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
        else:
            self._streams[stream_id] = stream
            self._replies.inflow.grant(stream_id)

    def _widen(self) -> None:
        """Let streams send as much as at first again, once there is time for that."""
        # No window may be wider than can be said; that of a message of gigabytes would be.
        if not any(isinstance(call, LaneCall) and call.missing_bytes > _HUGE_BYTES for call in self._streams.values()):
            self._replies.inflow.widen(self._streams, time.monotonic())

    def _trailers(self, stream_id: int, *, ends: bool) -> None:
        """A second header of a stream: gRPC has no use for it, but it ends the stream."""
        self._check_known(stream_id)
        if not ends:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} has a second header")
        call = self._streams.get(stream_id)
        if call is not None:
            call.half_close()

    def _check_known(self, stream_id: int) -> None:
        """Frames of streams that are over are ignored; there must have been such a stream."""
        if stream_id > self._last_id or not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
