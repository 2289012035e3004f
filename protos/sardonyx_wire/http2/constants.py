"""Frame types and flags as plain integers, for the hot path: each ``&`` on an IntFlag makes a new object, 0.5 us."""

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
"""Mask for the last word of a frame header, whose first bit is reserved."""

PRIORITY_BYTES: Final = 5
"""Length of the priority fields of HEADERS, and of PRIORITY frames. They are skipped."""

MAX_HEADER_BLOCK_BYTES: Final = 64 * 1024
"""Longest header block, and longest frame except DATA, that is accepted. A longer one is taken for an attack."""
