"""Bytes of the stock server -> its frames, and its header blocks whole. No I/O.

It is in this process and sends no padding: frame_reader.py, which reads whoever calls, has more to see to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sardonyx_wire.http2.constants import CONTINUATION, END_HEADERS, END_STREAM, HEADERS
from sardonyx_wire.http2.frames import FRAME_HEADER, FRAME_HEADER_BYTES

if TYPE_CHECKING:

    class Sink(Protocol):
        """Is told what came."""

        def on_header(self, stream_id: int, block: bytes, *, ends: bool) -> None:
            """A whole header block came."""

        def on_frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
            """Any other frame came."""


__all__ = ["StockReader"]


class StockReader:
    """Reads one connection.

    Args:
        sink: Is told what came.
    """

    __slots__ = ("_block", "_block_ends", "_rest", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        # What was read and is not a whole frame yet.
        self._rest = b""
        # A header that goes on in the next frame.
        self._block = b""
        self._block_ends = False

    def receive(self, data: bytes) -> None:
        """Bytes of the stock server."""
        if self._rest:
            data = self._rest + data
        position, stop = 0, len(data)
        while stop - position >= FRAME_HEADER_BYTES:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data, position)
            begin = position + FRAME_HEADER_BYTES
            end = begin + (high << 8 | low)
            if end > stop:
                break
            if kind in {HEADERS, CONTINUATION}:
                self._header(kind, flags, stream_id, data[begin:end])
            else:
                self._sink.on_frame(kind, flags, stream_id, data[begin:end])
            position = end
        self._rest = data[position:]

    def _header(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        if kind == HEADERS:
            self._block_ends = flags & END_STREAM != 0
        self._block += body
        if flags & END_HEADERS:
            block, self._block = self._block, b""
            self._sink.on_header(stream_id, block, ends=self._block_ends)
