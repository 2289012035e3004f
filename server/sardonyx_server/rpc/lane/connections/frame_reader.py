"""Decodes a client's bytes into HTTP/2 frames: boundaries, padding, header blocks in several frames. No I/O.

DATA is passed on as it arrives. Every other frame is passed on once it is complete, a header block once its last frame
is. The client package has a similar reader (sardonyx_client/_http2/frame_reader.py), which reads into a buffer of its
own. Here, a buffer for each of ten thousand connections would take too much memory, and most messages are short: they
are sliced from the bytes that were read.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.rpc.lane.connections.bad_preface import BadPreface
from sardonyx_wire.http2.constants import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_HEADER_BLOCK_BYTES,
    PADDED,
    PADDED_OR_PRIORITY,
    PRIORITY,
    PRIORITY_BYTES,
    SETTINGS,
    STREAM_ID_MASK,
)
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import FRAME_HEADER_BYTES, MAX_FRAME_BYTES, PREFACE, ErrorCode

if TYPE_CHECKING:

    class FrameListener(Protocol):
        """Receives the decoded frames."""

        def on_preface(self) -> None:
            """The client has sent its connection preface."""

        def on_window_used(self, size: int) -> None:
            """``size`` bytes that :meth:`on_data` does not report used up the connection's window."""

        def on_data(self, stream_id: int, data: bytes, begin: int, end: int, ends: bool, /) -> None:  # noqa: FBT001  # by position, as of each call
            """``data[begin:end]`` arrived and used up as much of the window; ``ends``: it is the stream's last."""

        def on_padding(self, stream_id: int, size: int) -> None:
            """``size`` bytes of a stream's DATA were padding."""

        def on_headers(self, stream_id: int, block: bytes, ends: bool, /) -> None:  # noqa: FBT001  # likewise
            """A complete header block has arrived."""

        def on_control(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
            """Any other frame has arrived."""


__all__ = ["FrameReader"]

# The header of a frame, with type and flags in one number. Nearly all frames have one of the two numbers below.
_HEAD: Final = struct.Struct(">BHHL")
_LAST_DATA: Final = DATA << 8 | END_STREAM
_WHOLE_HEADER: Final = HEADERS << 8 | END_HEADERS


class FrameReader:
    """Decodes the frames of one connection.

    Args:
        listener: Receives the frames.

    Attributes:
        preface_received: Whether the client has sent the preface of HTTP/2.
        data_left: Bytes of the current DATA frame that have not arrived.
        data_stream_id: Stream of that frame.
        data_ends: Whether that frame is the stream's last.
    """

    __slots__ = (
        "_between_blocks", "_block", "_block_ends", "_block_frames", "_block_id", "_listener", "_rest", "data_ends",
        "data_left", "data_stream_id", "preface_received",
    )  # fmt: skip

    def __init__(self, listener: FrameListener) -> None:
        self._listener = listener
        self.preface_received = False
        # Whether any frame may come: the client has sent its SETTINGS and is not within a header block.
        self._between_blocks = False
        # Bytes of an incomplete frame; of a DATA frame without padding, at most its header.
        self._rest = b""
        self.data_left = self.data_stream_id = 0
        self.data_ends = False
        # A header block that continues in the next frame.
        self._block: bytearray | None = None
        self._block_id = self._block_frames = 0
        self._block_ends = False

    def receive(self, data: bytes) -> None:
        """Decode bytes of the client.

        Raises:
            Http2ConnectionError: The client violated the protocol.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self.preface_received:
            data = self._on_first_bytes(data)
            if not self.preface_received:
                return
        position, stop = 0, len(data)
        if self.data_left:
            position = self._continue_data(data, stop)
        unpack, listener = _HEAD.unpack_from, self._listener
        while stop - position >= FRAME_HEADER_BYTES:
            high, low, what, stream_id = unpack(data, position)
            begin = position + FRAME_HEADER_BYTES
            position = begin + (high << 16 | low)
            if position <= stop and self._between_blocks:
                if what == _LAST_DATA:
                    listener.on_data(stream_id & STREAM_ID_MASK, data, begin, position, True)  # noqa: FBT003  # the last
                    continue
                if what == _WHOLE_HEADER and not high:
                    listener.on_headers(stream_id & STREAM_ID_MASK, data[begin:position], False)  # noqa: FBT003  # not the last
                    continue
            if not self._any_frame(what >> 8, what & 0xFF, stream_id & STREAM_ID_MASK, data, begin, position):
                return
        self._rest = data[position:]

    def buffer_updated(self, size: int) -> None:
        """``size`` bytes of the current DATA frame were read directly into a message's buffer."""
        self.data_left -= size
        self._listener.on_window_used(size)

    def _on_first_bytes(self, data: bytes) -> bytes:
        """Check the client's preface. Returns the bytes after it, or none while the preface is incomplete."""
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            raise BadPreface(data)
        if len(data) < len(PREFACE):
            self._rest = data
            return b""
        self.preface_received = True
        self._listener.on_preface()
        return data[len(PREFACE) :]

    def _any_frame(self, kind: int, flags: int, stream_id: int, data: bytes, begin: int, end: int) -> bool:
        """Handle a frame of any type, complete or not. Returns whether it was complete."""
        if kind == DATA and end <= len(data) and not flags & PADDED and self._between_blocks:
            self._listener.on_data(stream_id, data, begin, end, flags & END_STREAM != 0)
        elif (
            kind == HEADERS
            and end <= len(data)
            and flags & END_HEADERS
            and end - begin <= MAX_HEADER_BLOCK_BYTES
            and self._between_blocks
            and not flags & PADDED_OR_PRIORITY
        ):
            self._listener.on_headers(stream_id, data[begin:end], flags & END_STREAM != 0)
        elif end <= len(data):
            self._frame(kind, flags, stream_id, data[begin:end])
        else:
            self._on_partial_frame(kind, flags, stream_id, data, begin, end)
            return False
        return True

    @staticmethod
    def _check_size(kind: int, size: int) -> None:
        if size > (MAX_FRAME_BYTES if kind == DATA else MAX_HEADER_BLOCK_BYTES):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of kind {kind} has {size} bytes")

    def _continue_data(self, data: bytes, stop: int) -> int:
        """Pass on the bytes of a DATA frame that began earlier. Returns the position of the next frame."""
        size = min(self.data_left, stop)
        self.data_left -= size
        self._listener.on_data(self.data_stream_id, data, 0, size, self.data_ends and not self.data_left)
        return size

    def _on_partial_frame(self, kind: int, flags: int, stream_id: int, data: bytes, begin: int, end: int) -> None:
        """Handle a frame that has not arrived completely."""
        self._check_size(kind, end - begin)
        if kind != DATA or flags & PADDED or not self._between_blocks:
            self._rest = data[begin - FRAME_HEADER_BYTES :]
            return
        stop = len(data)
        self.data_left, self.data_stream_id, self.data_ends = end - stop, stream_id, flags & END_STREAM != 0
        if begin < stop:
            self._listener.on_data(stream_id, data, begin, stop, False)  # noqa: FBT003  # not the last

    def _frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Handle a complete frame that none of the fast paths took."""
        self._check_size(kind, len(body))
        if not self._between_blocks:
            if self._block is None and (kind != SETTINGS or flags & ACK):
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the settings must come first")
            if self._block is not None and kind != CONTINUATION:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header does not go on where it must")
            self._between_blocks = self._block is None
        if kind == CONTINUATION:
            self._on_continuation(flags, stream_id, body)
        elif kind in {DATA, HEADERS}:
            self._padded_or_split(kind, flags, stream_id, body)
        else:
            self._listener.on_control(kind, flags, stream_id, body)

    def _padded_or_split(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Handle HEADERS or DATA with padding, HEADERS with a priority, or a header block that continues."""
        if flags & PADDED:
            if not body or body[0] >= len(body):
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame is all padding")
            if kind == DATA:
                self._listener.on_window_used(1 + body[0])
                self._listener.on_padding(stream_id, 1 + body[0])
            body = body[1 : len(body) - body[0]]
        if kind == DATA:
            self._listener.on_data(stream_id, body, 0, len(body), flags & END_STREAM != 0)
            return
        if flags & PRIORITY:
            if len(body) < PRIORITY_BYTES:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a header is too short for its priority")
            body = body[PRIORITY_BYTES:]
        if flags & END_HEADERS:
            self._listener.on_headers(stream_id, body, flags & END_STREAM != 0)
            return
        self._block, self._block_id, self._block_frames = bytearray(body), stream_id, 1
        self._block_ends = flags & END_STREAM != 0
        self._between_blocks = False

    def _on_continuation(self, flags: int, stream_id: int, body: bytes) -> None:
        """Handle a CONTINUATION frame."""
        block = self._block
        if block is None or stream_id != self._block_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header does not go on where it must")
        block += body
        self._block_frames += 1
        # Frame headers count too: otherwise a client could send empty frames for ever.
        if len(block) + self._block_frames * FRAME_HEADER_BYTES > MAX_HEADER_BLOCK_BYTES:
            raise Http2ConnectionError(
                ErrorCode.ENHANCE_YOUR_CALM, f"a header has more than {MAX_HEADER_BLOCK_BYTES} bytes"
            )
        if flags & END_HEADERS:
            self._block = None
            self._between_blocks = True
            self._listener.on_headers(stream_id, bytes(block), self._block_ends)
