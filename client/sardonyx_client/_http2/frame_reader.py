"""Splits received bytes into HTTP/2 frames; removes padding and joins header blocks of several frames. No I/O.

DATA is passed on as it arrives. Any other frame is buffered until it is complete, and a header block until its last
frame.
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
        def data_buffer(self, stream_id: int) -> memoryview | None:
            """Where to receive the next data of a stream directly; None = pass it to :meth:`data_received`."""

        def data_buffer_updated(self, stream_id: int, size: int, *, end: bool) -> None:
            """``size`` bytes were received into :meth:`data_buffer`; ``end``: they end the stream."""

        def data_received(self, stream_id: int, view: memoryview, *, end: bool) -> None:
            """Data of a stream. The view is valid only until this returns."""

        def headers_received(self, stream_id: int, block: bytes, *, end: bool) -> None:
            """A complete header block."""

        def frame_received(self, kind: int, flags: int, stream_id: int, body: memoryview) -> None:
            """Any other frame. The view is valid only until this returns."""

        def window_used(self, size: int) -> None:
            """DATA frames used ``size`` bytes of the connection's receive window, padding included."""


__all__ = ["FrameReader"]

_READ_BYTES: Final = 64 * 1024
_PIECES: Final = frozenset({DATA, HEADERS, CONTINUATION})


class FrameReader:
    """Reads the frames of one connection.

    Args:
        sink: Receives the frames.
    """

    __slots__ = (
        "_block",
        "_block_ends_stream",
        "_block_id",
        "_buffer",
        "_data_ends_stream",
        "_data_left",
        "_data_stream_id",
        "_sink",
        "_started",
        "_stop",
        "_view",
    )  # fmt: skip

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._started = False
        # The buffer begins with the bytes that are received but not parsed yet, _stop in number.
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._stop = 0
        # Bytes still to come of the current DATA frame, its stream, and whether it ends the stream.
        self._data_left = 0
        self._data_stream_id = 0
        self._data_ends_stream = False
        # A header block that continues in the next frame.
        self._block: bytearray | None = None
        self._block_id = 0
        self._block_ends_stream = False

    @property
    def buffer(self) -> memoryview:
        """Where to receive the next bytes; never empty. Then call :meth:`buffer_updated`."""
        if self._data_left:
            buffer = self._sink.data_buffer(self._data_stream_id)
            if buffer is not None:
                return buffer[: self._data_left]
        return self._view[self._stop :]

    def buffer_updated(self, size: int) -> None:
        """``size`` bytes were received into :attr:`buffer`.

        Raises:
            Http2ConnectionError: The server violated the protocol.
        """
        if self._data_left and self._sink.data_buffer(self._data_stream_id) is not None:
            self._data_left -= size
            self._sink.window_used(size)
            self._sink.data_buffer_updated(
                self._data_stream_id, size, end=self._data_ends_stream and not self._data_left
            )
            return
        self._stop += size
        start, needed = self._frames(self._continue_data())
        self._retain(start, needed)

    def _continue_data(self) -> int:
        """Pass on the rest of a DATA frame that began earlier; returns where the next frame begins."""
        taken = min(self._data_left, self._stop)
        if taken:
            self._data_left -= taken
            self._sink.window_used(taken)
            self._sink.data_received(
                self._data_stream_id, self._view[:taken], end=self._data_ends_stream and not self._data_left
            )
        return taken

    def _frames(self, start: int) -> tuple[int, int]:
        """Pass on complete frames. Returns where the rest begins, and how many bytes it needs to become parseable."""
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
                    self._data_left, self._data_stream_id, self._data_ends_stream = (
                        end - stop,
                        stream_id,
                        flags & END_STREAM != 0,
                    )
                    end = stop
                sink.window_used(end - begin)
                sink.data_received(stream_id, view[begin:end], end=flags & END_STREAM != 0 and not self._data_left)
            elif end > stop:
                return start, FRAME_HEADER_BYTES + length
            elif kind in _PIECES:
                self._padded_or_split(kind, flags, stream_id, view[begin:end])
            else:
                sink.frame_received(kind, flags, stream_id, view[begin:end])
            start = end
        return start, FRAME_HEADER_BYTES

    def _check(self, kind: int, length: int) -> None:
        if not self._started:
            # Checked before the length, which is meaningless when the peer sends text, such as HTTP/1.1.
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
        """A complete HEADERS or CONTINUATION frame, or a padded DATA frame."""
        ends = flags & END_STREAM != 0
        if kind == CONTINUATION:
            self._continue_block(flags, stream_id, body)
            return
        if kind == DATA:
            self._sink.window_used(len(body))
        if flags & PADDED:
            if not body or body[0] >= len(body):
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server sent a frame that is all padding")
            body = body[1 : len(body) - body[0]]
        if kind == DATA:
            self._sink.data_received(stream_id, body, end=ends)
            return
        if flags & PRIORITY:
            if len(body) < PRIORITY_BYTES:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "the server sent a header that is too short")
            body = body[PRIORITY_BYTES:]
        _check_block(len(body))
        if flags & END_HEADERS:
            self._sink.headers_received(stream_id, bytes(body), end=ends)
        else:
            self._block, self._block_id, self._block_ends_stream = bytearray(body), stream_id, ends

    def _continue_block(self, flags: int, stream_id: int, body: memoryview) -> None:
        block = self._block
        if block is None or stream_id != self._block_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the server's header does not go on where it must")
        block += body
        _check_block(len(block))
        if flags & END_HEADERS:
            self._block = None
            self._sink.headers_received(stream_id, bytes(block), end=self._block_ends_stream)

    def _retain(self, start: int, needed: int) -> None:
        """Move the unparsed rest to the front of the buffer, and resize it so that the frame there fits."""
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
