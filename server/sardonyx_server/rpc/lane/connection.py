"""One caller's connection: its streams and its windows (RFC 9113). No I/O; all of it on the lane's thread.

A ModelInfer is a LaneCall, a ModelStreamInfer a LaneStream. Every other stream of HTTP/2 goes on to the stock server:
see relay.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from sardonyx_server.errors import MessageTooLarge, Overloaded
from sardonyx_server.rpc.lane import call as calls
from sardonyx_server.rpc.lane.broken import ConnectionBroken
from sardonyx_server.rpc.lane.call import STREAM_WINDOW_BYTES, LaneCall
from sardonyx_server.rpc.lane.frame_reader import FrameReader
from sardonyx_server.rpc.lane.outflow import NO_WINDOW, Flow
from sardonyx_server.rpc.lane.relay import Relayed
from sardonyx_server.rpc.lane.replies import Replies
from sardonyx_server.rpc.lane.request import MAX_FIELDS_BYTES, RequestReader
from sardonyx_server.rpc.status import Status
from sardonyx_wire.http2.frames import (
    DEFAULT_WINDOW_BYTES,
    LARGEST_WINDOW_BYTES,
    MAX_FRAME_BYTES,
    SETTING,
    ErrorCode,
    Kind,
    Setting,
    frame,
    go_away,
    reset,
    settings,
    window_update,
)
from sardonyx_wire.http2.hpack import HeaderTooLarge, HpackError
from sardonyx_wire.http2.numbers import ACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.rpc.lane.relay import Relay
    from sardonyx_server.rpc.lane.request import Request
    from sardonyx_server.rpc.lane.stream import LaneStream

__all__ = ["Connection", "Host"]

_MAX_STREAMS: Final = 1 << 16
# How much of the connection's window is used up before the caller gets it back: no call ever waits for it.
_RETURNED_BYTES: Final = 1 << 28
# Likewise of a relayed stream.
_STREAM_RETURNED_BYTES: Final = 1 << 16
# So much may wait for the windows of one caller whatever else waits: it reads on, if slowly.
_HELD_BYTES: Final = 16 << 20
# gRPC's core cuts a caller off after so many pings that come too soon after each other.
_PING_STRIKES: Final = 2
_LAST_ID: Final = 2**31 - 1
_UNAVAILABLE: Final[int] = grpc.StatusCode.UNAVAILABLE.value[0]
_PING_BYTES: Final = 8
_GOAWAY_BYTES: Final = 8
# A kind that is obsolete, and only looked at.
_PRIORITY: Final = 2
_PRIORITY_BYTES: Final = 5
_WORD_BYTES: Final = 4

_GREETING: Final = settings(
    {
        Setting.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
        Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        Setting.MAX_HEADER_LIST_SIZE: MAX_FIELDS_BYTES,
    }
) + window_update(0, LARGEST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)


class Host(calls.Host, Protocol):
    """What a connection wants of the lane.

    Attributes:
        methods: Full names of those that are the lane's own.
        stopping: The stock server takes no more calls.
        min_ping_interval_s: Callers that ping more often are cut off.
    """

    methods: Mapping[bytes, type[LaneCall | LaneStream]]
    stopping: bool
    min_ping_interval_s: float

    def begun(self, call: LaneCall | LaneStream, method: str) -> None:
        """A call came.

        Raises:
            ServerError: It is not allowed.
        """

    def may_hold_more(self) -> bool:
        """Whether more answers may wait for the windows of callers. Takes a while where there are many of these."""
        ...

    def touch(self, connection: Connection, /) -> None:
        """A connection has something to be written."""

    def relay(self, connection: Connection, /) -> Relay | None:
        """A way to the stock server; None where it takes no more."""


class Connection:
    """See the module.

    Args:
        host: The lane.
        peer: Address of the caller, in gRPC's form.

    Attributes:
        replies: What goes to the caller.
    """

    __slots__ = (
        "_broken", "_frames", "_going", "_goodbye_id", "_host", "_last_id", "_pinged_s", "_relays", "_requests",
        "_streams", "_used", "outflow", "replies",
    )  # fmt: skip

    def __init__(self, host: Host, peer: str) -> None:
        self._host = host
        self.replies = Replies(host, peer, self._touch)
        self.outflow = self.replies.outflow
        self._streams = self.replies.streams
        self._frames = FrameReader(self)
        self._requests = RequestReader()
        # The last one takes new streams; those before it have some left.
        self._relays: list[Relay] = []
        self._last_id = 0
        # The last stream that is dealt with, as the caller was told.
        self._goodbye_id = 0
        # It takes no more calls; it broke the protocol.
        self._going = self._broken = False
        self._used = 0
        self._pinged_s = 0.0
        self.replies.put(_GREETING)

    @property
    def peer(self) -> str:
        """Address of the caller."""
        return self.replies.peer

    @property
    def stopping(self) -> bool:
        """Whether the stock server takes no more calls."""
        return self._host.stopping

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be said, once all is written."""
        return self._broken or (self._going and not self._streams and not self.outflow.held_bytes)

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes of the caller may be put, told by :meth:`filled`; None where they go to receive()."""
        left = self._frames.left
        if not left:
            return None
        call = self._streams.get(self._frames.left_id)
        room = None if call is None or isinstance(call, Relayed) else call.room
        return None if room is None else room[:left]

    def receive(self, data: bytes) -> None:
        """Bytes of the caller. Raises ConnectionBroken: then :meth:`break_off`."""
        if not self._broken:
            self._frames.receive(data)

    def filled(self, size: int) -> None:
        """So many bytes were put into :attr:`room`."""
        frames = self._frames
        frames.filled(size)
        call = self._streams[frames.left_id]
        if not isinstance(call, Relayed):
            call.filled(size, ends=frames.left_ends and not frames.left)

    def _touch(self) -> None:
        self._host.touch(self)

    def written(self) -> None:
        """The socket has taken all there was: more may be sent."""
        self.outflow.written()
        self._go_on()

    def break_off(self, error: ConnectionBroken) -> None:
        """The caller broke the protocol: say so. What is under way on the connection is lost.

        Each call gets the reason as its status: not all clients have an ear for that of the connection.
        """
        self._broken = True
        text = f"the server ended the connection: {error}"
        # Without details: there may be many calls, and this must not be much.
        self.replies.cut_off(Status(code=_UNAVAILABLE, message=text, trailing=()))
        self.lost()
        # gRPC's clients know "too_many_pings", and ping half as often from then on.
        self.replies.put(go_away(error.code, last_id=self._goodbye_id or self._last_id, text=str(error)))

    def say_goodbye(self) -> None:
        """Take no more calls: those that come are for another server."""
        if not self._going:
            self._going = True
            self._goodbye_id = self._last_id
            self.replies.put(go_away(ErrorCode.NO_ERROR, last_id=self._last_id))

    def cancel_all(self) -> None:
        """End what is under way here. What is relayed the stock server ends."""
        for stream_id in [stream_id for stream_id, call in self._streams.items() if not isinstance(call, Relayed)]:
            self._drop(stream_id)
            self.replies.put(reset(stream_id, ErrorCode.CANCEL))

    def lost(self) -> None:
        """The connection is gone, and so are its calls."""
        for stream_id in list(self._streams):
            self._drop(stream_id)
        for relay in self._relays:
            relay.give_up()

    # What the caller sends: see frame_reader.py.

    def used(self, size: int) -> None:
        """Data took so much of the connection's window."""
        self._used += size
        if self._used >= _RETURNED_BYTES:
            self.replies.put(window_update(0, self._used))
            self._used = 0

    def data(self, stream_id: int, data: bytes, begin: int, end: int, *, ends: bool) -> None:
        """Data of a stream came."""
        call = self._streams.get(stream_id)
        if call is None:
            self._check_known(stream_id)
        elif isinstance(call, Relayed):
            call.relay.data(call, data[begin:end], end=ends)
        else:
            call.data(data, begin, end, ends=ends)

    def padded(self, stream_id: int, size: int) -> None:
        """So many bytes of data were padding: nobody will ever read them."""
        if stream_id in self._streams:
            self.replies.put(window_update(stream_id, size))

    def header(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        """A whole header came."""
        try:
            request = self._requests.read(block)
        except HeaderTooLarge as error:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from error
        except HpackError as error:
            raise ConnectionBroken(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        if stream_id <= self._last_id or not stream_id & 1:
            self._trailers(stream_id, ends=ends)
            return
        self._last_id = stream_id
        if self._going or len(self._streams) >= _MAX_STREAMS:
            self.replies.put(reset(stream_id, ErrorCode.REFUSED_STREAM))
        elif request.is_grpc and request.path in self._host.methods:
            self._open(stream_id, request, ends=ends)
        else:
            self._open_relayed(stream_id, request, ends=ends)

    def control(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Any other frame came; kinds that are not known are ignored, as the protocol wants."""
        if kind == Kind.RST_STREAM:
            self._on_reset(stream_id, body)
        elif kind == Kind.SETTINGS:
            self._on_settings(flags, stream_id, body)
        elif kind == Kind.PING:
            self._on_ping(flags, stream_id, body)
        elif kind == Kind.WINDOW_UPDATE:
            self._on_window_update(stream_id, body)
        elif kind == Kind.PUSH_PROMISE or (kind == Kind.GOAWAY and stream_id) or (kind == _PRIORITY and not stream_id):
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"a caller may not send a frame of kind {kind} there")
        elif (kind == Kind.GOAWAY and len(body) < _GOAWAY_BYTES) or (
            kind == _PRIORITY and len(body) != _PRIORITY_BYTES
        ):
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, f"a frame of kind {kind} has {len(body)} bytes")

    def _open(self, stream_id: int, request: Request, *, ends: bool) -> None:
        call = self._host.methods[request.path](self._host, self.replies, stream_id, request)
        self._streams[stream_id] = call
        try:
            self._host.begun(call, request.path.decode())
        except Exception as error:  # noqa: BLE001  # the caller gets its status; the lane goes on
            call.refuse(error)
            return
        if request.fields_bytes > MAX_FIELDS_BYTES:
            text = (
                f"the metadata is larger than max: it has {request.fields_bytes} bytes, {MAX_FIELDS_BYTES} are accepted"
            )
            call.refuse(MessageTooLarge(f"{text}; send less of it"))
        elif self.outflow.held_bytes > _HELD_BYTES and not self._host.may_hold_more():
            text = f"{self.outflow.held_bytes} bytes of answers wait to be taken on this connection"
            call.refuse(Overloaded(f"{text}, and no more may wait on this server: take them first"))
        elif ends:
            call.half_close()

    def _open_relayed(self, stream_id: int, request: Request, *, ends: bool) -> None:
        if not self._relays or not self._relays[-1].usable:
            relay = self._host.relay(self)
            if relay is None:
                self.replies.put(reset(stream_id, ErrorCode.REFUSED_STREAM))
                return
            self._relays = [*(each for each in self._relays if not each.finished), relay]
        self._streams[stream_id] = self._relays[-1].open(stream_id, request.fields, end=ends)

    def _trailers(self, stream_id: int, *, ends: bool) -> None:
        """A second header of a stream: gRPC has no use for it, but it ends the stream."""
        self._check_known(stream_id)
        if not ends:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} has a second header")
        call = self._streams.get(stream_id)
        if isinstance(call, Relayed):
            call.relay.data(call, b"", end=True)
        elif call is not None:
            call.half_close()

    def _check_known(self, stream_id: int) -> None:
        """Frames of streams that are over are ignored; there must have been such a stream."""
        if stream_id > self._last_id or not stream_id & 1:
            raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")

    def _drop(self, stream_id: int) -> None:
        """Nobody waits for a stream any more."""
        call = self._streams.pop(stream_id, None)
        flow = self.outflow.drop(stream_id)
        if flow is not None and flow.on_sent is not None:
            # The stock server gets its window back.
            flow.on_sent(sum(len(part) for part in flow.parts if not isinstance(part, bytes)))
        if call is not None and not isinstance(call, Relayed):
            call.drop()

    def _on_reset(self, stream_id: int, body: bytes) -> None:
        code = _word(body)
        self._check_known(stream_id)
        call = self._streams.get(stream_id)
        self._drop(stream_id)
        if isinstance(call, Relayed):
            call.relay.reset(call, code)

    def _on_settings(self, flags: int, stream_id: int, body: bytes) -> None:
        if stream_id or len(body) % SETTING.size or (flags & ACK and body):
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "settings are damaged")
        if flags & ACK:
            return
        # Of one that is named twice the last counts: a caller could name one ten thousand times.
        for name, value in dict(SETTING.iter_unpack(body)).items():
            if name == Setting.MAX_FRAME_SIZE:
                self.outflow.set_frame_bytes(value)
            elif name == Setting.INITIAL_WINDOW_SIZE:
                widened = max(
                    (call.widened for call in self._streams.values() if not isinstance(call, Relayed)), default=0
                )
                if value + widened > LARGEST_WINDOW_BYTES:
                    raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is out of bounds")
                self.outflow.set_initial_window(value)
                for relay in self._relays:
                    relay.set_initial_window(value)
            elif name == Setting.HEADER_TABLE_SIZE:
                self.replies.resized = True
            elif name == Setting.ENABLE_PUSH and value > 1:
                raise ConnectionBroken(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        self.replies.put(frame(Kind.SETTINGS, ACK, 0, b""))
        self._go_on()

    def _on_ping(self, flags: int, stream_id: int, body: bytes) -> None:
        if stream_id or len(body) != _PING_BYTES:
            raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, "a ping is damaged")
        if flags & ACK:
            return
        now_s = time.monotonic()
        if now_s - self._pinged_s < self._host.min_ping_interval_s:
            self.replies.strikes += 1
            if self.replies.strikes > _PING_STRIKES:
                raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._pinged_s = now_s
        self.replies.put(frame(Kind.PING, ACK, 0, body))

    def _on_window_update(self, stream_id: int, body: bytes) -> None:
        size = _word(body) & _LAST_ID
        if not stream_id:
            self.outflow.widen(size)
            self._go_on()
            return
        self._check_known(stream_id)
        call = self._streams.get(stream_id)
        if call is None:
            return
        if not size:
            self._drop(stream_id)
            self.replies.put(reset(stream_id, ErrorCode.PROTOCOL_ERROR))
        if isinstance(call, Relayed):
            if size:
                call.relay.widen(call, size)
            else:
                call.relay.reset(call, ErrorCode.PROTOCOL_ERROR)
        elif size:
            self._widen(call, size)

    def _widen(self, call: LaneCall | LaneStream, size: int) -> None:
        """The caller takes more of an answer."""
        flow = self.outflow.flow(call.id)
        window = self.outflow.initial_window + call.widened if flow is None else flow.window
        if window + size > LARGEST_WINDOW_BYTES:
            self._drop(call.id)
            self.replies.put(reset(call.id, ErrorCode.FLOW_CONTROL_ERROR))
        elif flow is None:
            call.widened += size
        else:
            flow.window += size
            self._go_on(flow)

    def _go_on(self, only: Flow | None = None) -> None:
        """Windows have changed, of one stream or of all: send what may be sent."""
        if not self.outflow.held_bytes:
            return
        was_empty, held_bytes = not self.outflow.out, self.outflow.held_bytes
        for flow in self.outflow.go_on(only):
            call = self._streams.get(flow.id)
            if call is not None and not isinstance(call, Relayed):
                call.widened = flow.window - self.outflow.initial_window
                call.all_sent()
        if self.outflow.held_bytes < held_bytes:
            # Who receives may ping: grpc-go does so to measure how much is under way.
            self.replies.strikes = 0
        if was_empty and self.outflow.out:
            self._touch()

    # What the stock server sends: see relay.py.

    def relayed(self, stream: Relayed, part: memoryview | bytes) -> None:
        """Data (a view) or frames of a relayed stream, in order."""
        self.replies.strikes = 0
        flow = self.outflow.flow(stream.id) or Flow(stream.id, NO_WINDOW, stream.relay.returned)
        self.replies.send(flow, part)

    def relayed_ended(self, stream: Relayed) -> None:
        """A relayed stream is over for both sides."""
        self._streams.pop(stream.id, None)

    def relayed_used(self, stream: Relayed, size: int) -> None:
        """So many bytes of a relayed stream went on: the caller may send more."""
        stream.used += size
        if stream.used >= _STREAM_RETURNED_BYTES and not stream.caller_ended:
            self.replies.put(window_update(stream.id, stream.used))
            stream.used = 0


def _word(body: bytes) -> int:
    """Four bytes."""
    if len(body) != _WORD_BYTES:
        raise ConnectionBroken(ErrorCode.FRAME_SIZE_ERROR, f"a frame has {len(body)} bytes where 4 are due")
    return int.from_bytes(body)
