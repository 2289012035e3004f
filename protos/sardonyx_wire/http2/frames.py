"""Frames of HTTP/2 (RFC 9113): the numbers of the protocol, and encoding."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_FRAME_BYTES",
    "DEFAULT_WINDOW_BYTES",
    "FRAME_HEADER",
    "FRAME_HEADER_BYTES",
    "LARGEST_FRAME_BYTES",
    "LARGEST_WINDOW_BYTES",
    "MAX_FRAME_BYTES",
    "PREFACE",
    "SETTING",
    "ErrorCode",
    "Flag",
    "FrameType",
    "Setting",
    "frame",
    "frame_header",
    "goaway",
    "rst_stream",
    "settings",
    "window_update",
]

FRAME_HEADER: Final = struct.Struct(">HBBBL")
"""Frame header (section 4.1): length in two parts, type, flags, stream id, whose first bit is reserved."""

FRAME_HEADER_BYTES: Final = FRAME_HEADER.size
SETTING: Final = struct.Struct(">HL")
"""One setting (section 6.5.1): identifier and value."""

DEFAULT_FRAME_BYTES: Final = 16384
"""Largest payload of a frame until the peer allows more."""

DEFAULT_WINDOW_BYTES: Final = 65535
"""Flow-control window of a connection or stream until it is changed."""

LARGEST_FRAME_BYTES: Final = 2**24 - 1
"""Largest SETTINGS_MAX_FRAME_SIZE that the protocol allows."""

LARGEST_WINDOW_BYTES: Final = 2**31 - 1
"""Largest flow-control window that the protocol allows."""

MAX_FRAME_BYTES: Final = 1 << 20
"""Largest frame that we accept: large enough for a typical image in one frame."""

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Client connection preface (section 3.4): the client sends it first, before its SETTINGS."""


class FrameType(IntEnum):
    """Type of a frame (section 6)."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    """Flags of frames. ACK applies to SETTINGS and PING only."""

    END_STREAM = 0x1
    ACK = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Setting(IntEnum):
    """Identifier of a setting (section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection was closed (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12


def frame_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Encode the header of a frame whose payload has ``length`` bytes."""
    return FRAME_HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Encode a whole frame."""
    return frame_header(kind, flags, stream_id, len(payload)) + payload


def window_update(stream_id: int, size_bytes: int) -> bytes:
    """Encode WINDOW_UPDATE: the peer may send ``size_bytes`` more. Stream 0 is the connection."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, size_bytes.to_bytes(4))


def rst_stream(stream_id: int, code: int) -> bytes:
    """Encode RST_STREAM: close a stream at once."""
    return frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4))


def goaway(code: int, *, last_id: int = 0, text: str = "") -> bytes:
    """Encode GOAWAY: why this side closes the connection, and the last of the peer's streams that it processes."""
    return frame(FrameType.GOAWAY, 0, 0, last_id.to_bytes(4) + code.to_bytes(4) + text.encode())


def settings(values: Mapping[Setting, int]) -> bytes:
    """Encode SETTINGS."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values.items()))
