"""Decodes the frames of the grpcio server, and assembles its header blocks. No I/O.

The grpcio server is in this process and sends no padding. frame_reader.py, which reads from clients, has more to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sardonyx_wire.http2.constants import CONTINUATION, END_HEADERS, END_STREAM, HEADERS
from sardonyx_wire.http2.frames import FRAME_HEADER, FRAME_HEADER_BYTES

if TYPE_CHECKING:

    class UpstreamFrameListener(Protocol):
        """Receives the decoded frames."""

        def on_headers(self, stream_id: int, block: bytes, *, ends: bool) -> None:
            """A complete header block arrived."""

        def on_frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
            """Any other frame arrived."""


__all__ = ["UpstreamFrameReader"]


class UpstreamFrameReader:
    """The frame decoder of one upstream connection.

    Args:
        listener: Receives the decoded frames.
    """

    __slots__ = ("_block", "_block_ends", "_listener", "_rest")

    def __init__(self, listener: UpstreamFrameListener) -> None:
        self._listener = listener
        # Bytes of an incomplete frame.
        self._rest = b""
        # Header block that continues in the next frame.
        self._block = b""
        self._block_ends = False

    def receive(self, data: bytes) -> None:
        """Bytes were read from the grpcio server."""
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
                self._on_headers(kind, flags, stream_id, data[begin:end])
            else:
                self._listener.on_frame(kind, flags, stream_id, data[begin:end])
            position = end
        self._rest = data[position:]

    def _on_headers(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        if kind == HEADERS:
            self._block_ends = flags & END_STREAM != 0
        self._block += body
        if flags & END_HEADERS:
            block, self._block = self._block, b""
            self._listener.on_headers(stream_id, block, ends=self._block_ends)
