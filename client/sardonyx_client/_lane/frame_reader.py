"""Bytes of a server -> frames of HTTP/2: where they begin and end, padding, headers in several frames. No I/O.

DATA is handed on as it comes. Everything else waits until its frame is whole, and a header until its last frame is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_wire.http2.constants import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_HEADER_BLOCK_BYTES,
    PADDED,
    PRIORITY,
    PRIORITY_BYTES,
    SETTINGS,
    STREAM_ID_MASK,
)
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import FRAME_HEADER, FRAME_HEADER_BYTES, MAX_FRAME_BYTES, ErrorCode

if TYPE_CHECKING:

    class _Sink(Protocol):
        def room(self, stream_id: int) -> memoryview | None:
            """Where the next data of a stream may be put directly; None where they come by :meth:`data`."""

        def filled(self, stream_id: int, size: int, *, end: bool) -> None:
            """So many bytes were put into :meth:`room`; ``end``: they were the stream's last."""

        def data(self, stream_id: int, view: memoryview, *, end: bool) -> None:
            """Data came; the view is only good until this returns."""

        def headers(self, stream_id: int, block: bytes, *, end: bool) -> None:
            """A whole header block came."""

        def frame(self, kind: int, flags: int, stream_id: int, body: memoryview) -> None:
            """Any other frame came; the view is only good until this returns."""

        def used(self, size: int) -> None:
            """Frames of data took so much of the connection's window."""


__all__ = ["FrameReader"]

_READ_BYTES: Final = 64 * 1024
_PIECES: Final = frozenset({DATA, HEADERS, CONTINUATION})


class FrameReader:
    """Reads one connection.

    Args:
        sink: Is told what came.
    """

    __slots__ = (
        "_block", "_block_ends", "_block_id", "_buffer", "_left", "_left_ends", "_left_id", "_sink", "_started",
        "_stop", "_view",
    )  # fmt: skip

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._started = False
        # What has been read and not understood yet is the buffer's beginning.
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._stop = 0
        # A DATA frame of which so many bytes are still to come, and whether it is its stream's last.
        self._left = 0
        self._left_id = 0
        self._left_ends = False
        # A header that goes on in the next frame.
        self._block: bytearray | None = None
        self._block_id = 0
        self._block_ends = False

    @property
    def buffer(self) -> memoryview:
        """Where the next bytes of the server shall be put; never empty. :meth:`received` tells how many were."""
        if self._left:
            room = self._sink.room(self._left_id)
            if room is not None:
                return room[: self._left]
        return self._view[self._stop :]

    def received(self, size: int) -> None:
        """So many bytes were put into :attr:`buffer`.

        Raises:
            Http2ConnectionError: The server broke the protocol.
        """
        if self._left and self._sink.room(self._left_id) is not None:
            self._left -= size
            self._sink.used(size)
            self._sink.filled(self._left_id, size, end=self._left_ends and not self._left)
            return
        self._stop += size
        start, needed = self._frames(self._rest_of_data())
        self._keep(start, needed)

    def _rest_of_data(self) -> int:
        """Hand on what belongs to a frame that began earlier; returns where the next begins."""
        taken = min(self._left, self._stop)
        if taken:
            self._left -= taken
            self._sink.used(taken)
            self._sink.data(self._left_id, self._view[:taken], end=self._left_ends and not self._left)
        return taken

    def _frames(self, start: int) -> tuple[int, int]:
        """Hand on what is whole; returns where the rest begins, and how long it must be to go on."""
        sink, view, stop = self._sink, self._view, self._stop
        while stop - start >= FRAME_HEADER_BYTES:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(view, start)
            length = high << 8 | low
            stream_id &= STREAM_ID_MASK
            self._check(kind, length)
            begin = start + FRAME_HEADER_BYTES
            end = begin + length
            if kind == DATA and not flags & PADDED:
                if end > stop:
                    self._left, self._left_id, self._left_ends = end - stop, stream_id, flags & END_STREAM != 0
                    end = stop
                sink.used(end - begin)
                sink.data(stream_id, view[begin:end], end=flags & END_STREAM != 0 and not self._left)
            elif end > stop:
                return start, FRAME_HEADER_BYTES + length
            elif kind in _PIECES:
                self._padded_or_split(kind, flags, stream_id, view[begin:end])
            else:
                sink.frame(kind, flags, stream_id, view[begin:end])
            start = end
        return start, FRAME_HEADER_BYTES

    def _check(self, kind: int, length: int) -> None:
        if not self._started:
            # First of all: text read as a frame's head has a length that means nothing.
            if kind != SETTINGS:
                raise Http2ConnectionError(
                    ErrorCode.PROTOCOL_ERROR, "the server does not speak HTTP/2 without TLS: is this its gRPC port?"
                )
            self._started = True
        if length > MAX_FRAME_BYTES:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"the server sent a frame of {length} bytes")
        if (kind == CONTINUATION) != (self._block is not None):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server's header does not go on where it must")

    def _padded_or_split(self, kind: int, flags: int, stream_id: int, body: memoryview) -> None:
        """A whole frame of a header, or of data with padding."""
        ends = flags & END_STREAM != 0
        if kind == CONTINUATION:
            self._go_on(flags, stream_id, body)
            return
        if kind == DATA:
            self._sink.used(len(body))
        if flags & PADDED:
            if not body or body[0] >= len(body):
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server sent a frame that is all padding")
            body = body[1 : len(body) - body[0]]
        if kind == DATA:
            self._sink.data(stream_id, body, end=ends)
            return
        if flags & PRIORITY:
            if len(body) < PRIORITY_BYTES:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent a header that is too short")
            body = body[PRIORITY_BYTES:]
        _check_block(len(body))
        if flags & END_HEADERS:
            self._sink.headers(stream_id, bytes(body), end=ends)
        else:
            self._block, self._block_id, self._block_ends = bytearray(body), stream_id, ends

    def _go_on(self, flags: int, stream_id: int, body: memoryview) -> None:
        block = self._block
        if block is None or stream_id != self._block_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server's header does not go on where it must")
        block += body
        _check_block(len(block))
        if flags & END_HEADERS:
            self._block = None
            self._sink.headers(stream_id, bytes(block), end=self._block_ends)

    def _keep(self, start: int, needed: int) -> None:
        """Put what is left to the buffer's beginning, and make sure that what begins there can become whole."""
        rest = self._stop - start
        buffer = self._buffer
        if needed > len(buffer) or (len(buffer) > _READ_BYTES >= needed):
            buffer = bytearray(max(needed, _READ_BYTES))
        if rest and (start or buffer is not self._buffer):
            buffer[:rest] = self._view[start : self._stop].tobytes()
        if buffer is not self._buffer:
            self._buffer, self._view = buffer, memoryview(buffer)
        self._stop = rest


def _check_block(size: int) -> None:
    if size > MAX_HEADER_BLOCK_BYTES:
        raise Http2ConnectionError(
            ErrorCode.ENHANCE_YOUR_CALM, f"the server sent a header of more than {MAX_HEADER_BLOCK_BYTES} bytes"
        )
