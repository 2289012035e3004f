"""What is compared with in each frame, as plain numbers: an IntFlag is made anew by each `&`, which takes 0.5 us."""

from __future__ import annotations

from typing import Final

from sardonyx_wire.http2.frames import Flag, FrameType

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "HEADERS",
    "MAX_HEADER_BLOCK_BYTES",
    "PADDED",
    "PADDED_OR_PRIORITY",
    "PRIORITY",
    "PRIORITY_BYTES",
    "SETTINGS",
    "STREAM_ID_MASK",
]

DATA: Final = int(FrameType.DATA)
HEADERS: Final = int(FrameType.HEADERS)
SETTINGS: Final = int(FrameType.SETTINGS)
CONTINUATION: Final = int(FrameType.CONTINUATION)

ACK: Final = int(Flag.ACK)
END_STREAM: Final = int(Flag.END_STREAM)
END_HEADERS: Final = int(Flag.END_HEADERS)
PADDED: Final = int(Flag.PADDED)
PRIORITY: Final = int(Flag.PRIORITY)
PADDED_OR_PRIORITY: Final = PADDED | PRIORITY

STREAM_ID_MASK: Final = 2**31 - 1
"""Of the last word of a frame's head: the first bit is reserved."""

PRIORITY_BYTES: Final = 5
"""Of a header, or of a frame of its own, that says what is more urgent; only skipped."""

MAX_HEADER_BLOCK_BYTES: Final = 64 * 1024
"""A header, or any frame but data, of more than this is an attack."""
