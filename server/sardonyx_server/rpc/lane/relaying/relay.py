"""A connection to the stock server behind, for streams that are not the lane's: see relayed.py for each. No I/O.

Streams keep their numbers. Headers of requests are decoded and written anew, because the caller's header table is one
for all its streams; of the stock server we ask for headers without a table, and those go on as they are. Each side's
windows hold back what goes to it, and what is held back holds back the other side.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.messages.answers import header_frames
from sardonyx_server.rpc.lane.relaying.relayed import Relayed
from sardonyx_server.rpc.lane.relaying.stock_reader import StockReader
from sardonyx_server.rpc.lane.relaying.stopped import heard
from sardonyx_server.rpc.lane.windows.outflow import Outflow
from sardonyx_server.rpc.other_rpcs.forwarded import PEER_KEY
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

    from sardonyx_server.rpc.lane.relaying.relays import Relays
    from sardonyx_wire.http2.errors import Http2ConnectionError
    from sardonyx_wire.http2.hpack import Field

__all__ = ["Relay"]

# What the stock server may send ahead of a caller that reads slowly.
_WINDOW_BYTES: Final = 1 << 20
_RETURNED_BYTES: Final = 1 << 18
# Of headers that wait for the stock server. They are written out in full for it: a caller that says the same long
# fields again, in a few bytes of its header table, made 1.5 GB of 2.4 MB (2026-11-26).
_MOST_WAITING_BYTES: Final = 4 << 20
_PEER_KEY: Final = PEER_KEY.encode()


class Relay:
    """For one caller's connection.

    Args:
        caller: The caller's side.
        touch: Called with this relay when it has something to be written.

    Attributes:
        outflow: What goes to the stock server.
        usable: The stock server takes new streams on it.
        finished: It is of no use any more.
    """

    __slots__ = ("_caller", "_reader", "_returned", "_streams", "finished", "outflow", "usable")

    room = None
    greeted = True
    """Nobody else listens there."""

    def __init__(self, caller: Relays, touch: Callable[[Relay], None]) -> None:
        self._caller = caller
        self._streams: dict[int, Relayed] = {}
        self._reader = StockReader(self)
        self._returned = 0
        self.usable = True
        self.finished = False
        self.outflow = Outflow(caller.held, partial(touch, self))
        self.put(
            PREFACE
            + settings(
                {
                    Setting.HEADER_TABLE_SIZE: 0,
                    Setting.ENABLE_PUSH: 0,
                    Setting.INITIAL_WINDOW_SIZE: caller.initial_window,
                }
            )
            + window_update(0, _WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
        )

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the stock server that no stream may be opened before it has read some."""
        return self.outflow.ahead < -_MOST_WAITING_BYTES

    # What comes of the caller.

    def open(self, stream_id: int, fields: list[Field], *, end: bool) -> Relayed:
        """A stream begins. Requires: :attr:`usable`, and not :attr:`is_behind`."""
        stream = self._streams[stream_id] = Relayed(stream_id, self, self._caller, caller_ended=end)
        own = [field for field in fields if field[0] != _PEER_KEY]
        own.append((_PEER_KEY, self._caller.peer.encode()))
        frames = header_frames(stream_id, encode_block(own), end=end)
        # As data do, whose place it takes: what is put after it waits for the socket.
        self.outflow.ahead -= len(frames)
        self.put(frames)
        return stream

    def put(self, frames: bytes) -> None:
        """Send frames to the stock server; not once this is over, for the caller's side may know it for long."""
        if not self.finished:
            self.outflow.put(frames)

    def forget(self, stream: Relayed) -> None:
        """A stream is over here."""
        self._streams.pop(stream.id, None)
        self.outflow.drop(stream.id)
        stream.forgotten()

    def see_end(self, stream: Relayed) -> None:
        """Whether both sides have ended a stream. Where only the stock server has, it resets the stream as well."""
        if stream.server_ended and stream.caller_ended:
            self.forget(stream)
            self._caller.ended(stream)

    def set_initial_window(self, size: int) -> None:
        """The caller takes so much on each stream."""
        self.put(settings({Setting.INITIAL_WINDOW_SIZE: size}))

    def returned(self, size: int) -> None:
        """So many bytes went on to the caller: the stock server may send more."""
        self._returned += size
        if self._returned >= _RETURNED_BYTES:
            self.put(window_update(0, self._returned))
            self._returned = 0

    def give_up(self) -> None:
        """The caller is gone."""
        self.finished = True
        self._streams.clear()
        self.outflow.touch()

    # What comes of the stock server.

    def filled(self, size: int) -> None:
        """Never: there is no :attr:`room`."""
        raise AssertionError(f"bug: {size} bytes were put into no room")

    def receive(self, data: bytes) -> None:
        """Bytes of the stock server.

        Raises:
            Http2ConnectionError: It broke the protocol.
        """
        self._reader.receive(data)

    def written(self) -> None:
        """The socket has taken all there was: more may be sent."""
        self.outflow.written()
        self.outflow.go_on()

    def break_off(self, error: Http2ConnectionError) -> None:  # noqa: ARG002  # it is the stock server's fault, not ours
        """It broke the protocol."""
        self.lost()
        # So that the wire is closed.
        self.outflow.touch()

    def lost(self) -> None:
        """The connection to the stock server is gone, and so are the streams."""
        self.usable = False
        self.finished = True
        for stream in list(self._streams.values()):
            # What was not begun may safely be tried again.
            self._end(stream, ErrorCode.CANCEL if stream.begun else ErrorCode.REFUSED_STREAM)

    def on_header(self, stream_id: int, block: bytes, *, ends: bool) -> None:
        """A whole header block came."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            if ends and self._caller.stopping:
                block = heard(block, first=not stream.begun)
            stream.begun = True
            self._caller.send(stream, header_frames(stream.id, block, end=ends), self)
            stream.server_ended = ends
            self.see_end(stream)

    def on_frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Any other frame came."""
        stream = self._streams.get(stream_id)
        if kind == FrameType.DATA:
            self._on_data(stream, flags, body)
        elif kind == FrameType.WINDOW_UPDATE:
            self._on_window_update(stream, stream_id, int.from_bytes(body))
        elif kind == FrameType.RST_STREAM and stream is not None:
            self._end(stream, int.from_bytes(body))
        elif kind == FrameType.SETTINGS and not flags & ACK:
            self._on_settings(body)
        elif kind == FrameType.PING and not flags & ACK:
            self.put(frame(FrameType.PING, ACK, 0, body))
        elif kind == FrameType.GOAWAY:
            self._on_goaway(int.from_bytes(body[:4]))

    def _on_data(self, stream: Relayed | None, flags: int, body: bytes) -> None:
        if stream is None:
            self.returned(len(body))  # The caller has gone away.
            return
        if body:
            self._caller.send(stream, memoryview(body), self)
        if flags & END_STREAM:
            self._caller.send(stream, frame(FrameType.DATA, END_STREAM, stream.id, b""), self)
            stream.server_ended = True
            self.see_end(stream)

    def _on_settings(self, body: bytes) -> None:
        outflow = self.outflow
        for name, value in SETTING.iter_unpack(body):
            if name == Setting.MAX_FRAME_SIZE:
                outflow.set_frame_bytes(value)
            elif name == Setting.INITIAL_WINDOW_SIZE:
                change = value - outflow.initial_window
                for stream in self._streams.values():
                    if outflow.flow(stream.id) is None:
                        stream.flow.window += change
                outflow.set_initial_window(value)
        self.put(frame(FrameType.SETTINGS, ACK, 0, b""))
        self.outflow.go_on()

    def _on_window_update(self, stream: Relayed | None, stream_id: int, size: int) -> None:
        if not stream_id:
            self.outflow.widen(size)
            self.outflow.go_on()
        elif stream is not None:
            stream.flow.window += size
            self.outflow.go_on(stream.flow)

    def _on_goaway(self, last_id: int) -> None:
        self.usable = False
        for stream in list(self._streams.values()):
            if stream.id > last_id:
                self._end(stream, ErrorCode.REFUSED_STREAM)
            else:
                stream.hurry()

    def _end(self, stream: Relayed, code: int) -> None:
        """The stock server wants no more of a stream, or is gone."""
        self.forget(stream)
        self._caller.send(stream, rst_stream(stream.id, code), self)
        self._caller.ended(stream)
