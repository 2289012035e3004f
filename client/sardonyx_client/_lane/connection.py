"""One HTTP/2 connection of a client of unary calls, without I/O (RFC 9113).

Bytes of the server go in by :attr:`Connection.buffer` and :meth:`Connection.received`; bytes for the server come out by
:meth:`Connection.take`. Threads and event loops drive it, and it knows neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_client._lane.answer import Answer
from sardonyx_client._lane.frame_reader import FrameReader
from sardonyx_client._lane.outflow import Outflow
from sardonyx_client._lane.stream import Stream
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

    from sardonyx_client._lane.fields import FieldReader

__all__ = ["Connection"]

# How much of the connection's window is used up before the server gets it back: no call ever waits for it.
_RETURNED_BYTES: Final = 1 << 30
_LAST_STREAM_ID: Final = 2**31 - 1


class Connection:
    """Not thread-safe: whoever drives it owns it.

    Args:
        reader: Of the server's header blocks; may be shared.
        max_message_bytes: Most to accept of one answer; None = as much as a message can have.

    Attributes:
        ready: The server has said its settings: it speaks HTTP/2.
        draining: The server takes no new calls on it.
    """

    def __init__(self, reader: FieldReader, max_message_bytes: int | None) -> None:
        self.ready = False
        self.draining = False
        self._fields = reader
        self._max_message_bytes = max_message_bytes
        self._frames = FrameReader(self)
        self._streams: dict[int, Stream] = {}
        self._outflow = Outflow()
        # Streams that the server ended before all of the request was sent: it needs no more. Mostly it says so itself.
        self._refused: set[int] = set()
        self._next_id = 1
        self._used = 0
        self._max_streams = _LAST_STREAM_ID
        # Kinds that are not here are ignored, as the protocol wants.
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
        """Whether a new call may begin."""
        return self.ready and not self.draining and len(self._streams) < self._max_streams

    @property
    def out(self) -> list[bytes | memoryview]:
        """What is to be sent, in order; :meth:`take` takes it."""
        return self._outflow.out

    @property
    def streams(self) -> int:
        """Calls under way."""
        return len(self._streams)

    @property
    def buffer(self) -> memoryview:
        """Where the next bytes of the server shall be put; never empty. :meth:`received` tells how many were."""
        return self._frames.buffer

    def received(self, size: int) -> None:
        """So many bytes were put into :attr:`buffer`.

        Raises:
            Http2ConnectionError: The server broke the protocol.
        """
        self._frames.received(size)
        if self._refused:
            self.out.extend(rst_stream(one, ErrorCode.CANCEL) for one in self._refused)
            self._refused.clear()

    def open(self, block: bytes, message: bytes) -> Stream:
        """Begin a call. Requires: :attr:`usable`.

        Args:
            block: Header of the request, smaller than a frame.
            message: Of the request; not copied.
        """
        stream_id = self._next_id
        self._next_id = stream_id + 2
        self.draining = self._next_id > _LAST_STREAM_ID
        stream = Stream(stream_id, Answer(self._max_message_bytes), message, self._outflow.initial_window)
        self._streams[stream_id] = stream
        self.out.extend((frame_header(HEADERS, END_HEADERS, stream_id, len(block)), block))
        self._outflow.begin(stream)
        return stream

    def cancel(self, stream: Stream) -> None:
        """Give a call up, and say so to the server. Nothing where it has ended."""
        if self._streams.pop(stream.id, None) is not None:
            self._outflow.drop(stream)
            self.out.append(rst_stream(stream.id, ErrorCode.CANCEL))

    def lost(self, reason: str) -> None:
        """The connection is gone: so are the calls on it."""
        self.draining = True
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            self._outflow.drop(stream)
            # Of a request that was not sent to its end the server has no use: it has no message.
            stream.answer.lost(reason, unprocessed=not stream.sent)

    def take(self) -> list[bytes | memoryview]:
        """What is to be sent now, in order; views of messages among it."""
        out = self._outflow.out
        self._outflow.out = []
        return out

    def written(self) -> bool:
        """The socket has taken all that :meth:`take` gave. To be told each time; whether there is more to be taken."""
        self._outflow.written()
        return bool(self._outflow.out)

    def room(self, stream_id: int) -> memoryview | None:
        """See ``FrameReader``, as for the next five."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.answer.room

    def filled(self, stream_id: int, size: int, *, end: bool) -> None:
        """Data were read in place."""
        stream = self._streams[stream_id]
        stream.answer.filled(size)
        if end:
            self._forget(stream)
            stream.answer.data_ended()

    def data(self, stream_id: int, view: memoryview, *, end: bool) -> None:
        """Data came."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_known(stream_id)
            return
        answer = stream.answer
        answer.data(view)
        if end:
            self._forget(stream)
            answer.data_ended()
        elif answer.ended:
            self.cancel(stream)

    def headers(self, stream_id: int, block: bytes, *, end: bool) -> None:
        """A header came."""
        stream = self._streams.get(stream_id)
        if stream is None:
            # Of a call that was given up; blocks are stateless, so it need not be read.
            self._check_known(stream_id)
            return
        try:
            section = self._fields.read(block)
        except HpackError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        if end:
            self._forget(stream)
        stream.answer.fields(section, end=end)
        if not end and stream.answer.ended:
            self.cancel(stream)

    def frame(self, kind: int, flags: int, stream_id: int, body: memoryview) -> None:
        """Another frame came."""
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(flags, stream_id, body)

    def used(self, size: int) -> None:
        """Data took a part of the connection's window. A stream's is as large as its message can be."""
        self._used += size
        if self._used >= _RETURNED_BYTES:
            self.out.append(window_update(0, self._used))
            self._used = 0

    def _check_known(self, stream_id: int) -> None:
        if stream_id >= self._next_id or not stream_id & 1:
            raise Http2ConnectionError(
                ErrorCode.PROTOCOL_ERROR, f"the server answers on stream {stream_id}, which is none"
            )

    def _forget(self, stream: Stream) -> None:
        """The server has ended its side. It needs no more of the request, if there is more."""
        self._streams.pop(stream.id, None)
        if self._outflow.drop(stream):
            self._refused.add(stream.id)

    def _rst_stream(self, _flags: int, stream_id: int, body: memoryview) -> None:
        code = _number(body)
        self._check_known(stream_id)
        self._refused.discard(stream_id)
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._outflow.drop(stream)
            stream.answer.reset(code)

    def _settings(self, flags: int, stream_id: int, body: memoryview) -> None:
        if stream_id or len(body) % SETTING.size or (flags & ACK and body):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent damaged settings")
        if flags & ACK:
            return
        for name, value in SETTING.iter_unpack(body):
            if name == Setting.MAX_CONCURRENT_STREAMS:
                self._max_streams = value
            elif name == Setting.MAX_FRAME_SIZE:
                self._outflow.set_frame_bytes(value)
            elif name == Setting.INITIAL_WINDOW_SIZE:
                self._outflow.set_initial_window(value, self._streams.values())
        self.ready = True
        self.out.append(frame(FrameType.SETTINGS, ACK, 0, b""))
        self._outflow.go_on()

    def _push_promise(self, _flags: int, _stream_id: int, _body: memoryview) -> None:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server pushes, which was not agreed")

    def _ping(self, flags: int, stream_id: int, body: memoryview) -> None:
        if stream_id or len(body) != 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent a damaged ping")
        if not flags & ACK:
            self.out.append(frame(FrameType.PING, ACK, 0, bytes(body)))

    def _goaway(self, _flags: int, stream_id: int, body: memoryview) -> None:
        if stream_id or len(body) < 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent a damaged goodbye")
        self.draining = True
        last = _number(body[:4]) & _LAST_STREAM_ID
        for stream in [stream for stream in self._streams.values() if stream.id > last]:
            del self._streams[stream.id]
            self._outflow.drop(stream)
            stream.answer.lost("the server closes the connection", unprocessed=True)

    def _window_update(self, _flags: int, stream_id: int, body: memoryview) -> None:
        size = _number(body) & _LAST_STREAM_ID
        if stream_id:
            stream = self._streams.get(stream_id)
            if stream is not None:
                stream.window += size
        else:
            self._outflow.widen(size)
        self._outflow.go_on()


def _number(body: memoryview) -> int:
    """Four bytes."""
    if len(body) != 4:
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"the server sent {len(body)} bytes where 4 are due")
    return int.from_bytes(body)
