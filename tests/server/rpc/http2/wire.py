"""What a client says, as bytes, well or ill formed: frames and header blocks of HTTP/2, messages of gRPC.

Nothing here is shared with the server or the client: a mistake in both would not be seen.
"""

from __future__ import annotations

import itertools
import struct
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from hpack import Encoder
from hpack.hpack import encode_integer

from tests.server.rpc.transports import METHOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ACK",
    "ADDED",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "HEADER",
    "MAX_WINDOW",
    "NEVER",
    "PADDED",
    "PLAIN",
    "PREFACE",
    "PRIORITY",
    "START_WINDOW",
    "WIDE",
    "Form",
    "FrameType",
    "Setting",
    "block",
    "call",
    "data",
    "frame",
    "headers",
    "integer",
    "literal",
    "ping",
    "prefixed",
    "request_fields",
    "rst_stream",
    "settings",
    "window_update",
]

_HUFFMAN: Final = Encoder().huffman_coder
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER: Final = struct.Struct(">BHBBI")
MAX_WINDOW: Final = 2**31 - 1
# Of every connection and stream before anything is said (RFC 9113, section 6.9.2).
START_WINDOW: Final = 65_535

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

NOTHING: Final[Mapping[int, int]] = MappingProxyType({})


class FrameType(IntEnum):
    """Frame types (RFC 9113, section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Settings (RFC 9113, section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Form(NamedTuple):
    """The first byte of a literal, and how many of its bits belong to an index."""

    first: int
    bits: int


PLAIN: Final = Form(0x00, 4)
ADDED: Final = Form(0x40, 6)
"""Adds the field to the server's table."""
NEVER: Final = Form(0x10, 4)
"""Says that nobody ever may, on the whole way."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame, whatever is in it."""
    return FRAME_HEADER.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def settings(values: Mapping[int, int] | Mapping[Setting, int] = NOTHING) -> bytes:
    """Settings, in the order given."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in values.items()))


def window_update(stream_id: int, size: int) -> bytes:
    """More room for what the server sends."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, size.to_bytes(4))


def rst_stream(stream_id: int, code: int = 8) -> bytes:
    """The end of a stream; 8 is CANCEL."""
    return frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4))


def ping(payload: bytes = b"a ping!!") -> bytes:
    """A question whether the server is there."""
    return frame(FrameType.PING, 0, 0, payload)


def prefixed(message: bytes, *, flag: int = 0) -> bytes:
    """A message as gRPC frames it; the flag is 1 where it is compressed."""
    return bytes((flag,)) + len(message).to_bytes(4) + message


def request_fields(*more: tuple[str, str], path: str = METHOD) -> list[tuple[str, str]]:
    """Header of a call."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *more,
    ]


def block(fields: Iterable[tuple[str, str]], *, huffman: bool = True) -> bytes:
    """A header block that leaves nothing behind in the server's table."""
    return b"".join(literal(name, value, huffman=huffman) for name, value in fields)


def integer(value: int, *, first: int, bits: int) -> bytes:
    """A number of HPACK in the low bits of a first byte, and more bytes (RFC 7541, section 5.1)."""
    encoded = encode_integer(value, bits)
    encoded[0] |= first
    return bytes(encoded)


def literal(name: str | int, value: str, form: Form = PLAIN, *, huffman: bool = False) -> bytes:
    """One field as a literal (RFC 7541, section 6.2).

    Args:
        name: As text, or an index into the tables.
        value: As text.
        form: What becomes of it in the server's table.
        huffman: Whether both are coded.
    """
    index = integer(name if isinstance(name, int) else 0, first=form.first, bits=form.bits)
    named = b"" if isinstance(name, int) else _text(name, huffman=huffman)
    return index + named + _text(value, huffman=huffman)


def headers(
    stream_id: int,
    encoded: bytes,
    *,
    flags: int = END_HEADERS,
    pieces: int = 1,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A header block in so many frames.

    Args:
        stream_id: Whose.
        encoded: The block.
        flags: Of the first frame; END_HEADERS moves to the last one.
        pieces: How many frames.
        before: What flags ask for before the block's first part.
        after: Padding of the first frame.
    """
    cuts = [len(encoded) * index // pieces for index in range(pieces + 1)]
    parts = [encoded[begin:end] for begin, end in itertools.pairwise(cuts)]
    out = [
        frame(FrameType.HEADERS, flags if pieces == 1 else flags & ~END_HEADERS, stream_id, before + parts[0] + after)
    ]
    out += [frame(FrameType.CONTINUATION, 0, stream_id, part) for part in parts[1:-1]]
    out += [frame(FrameType.CONTINUATION, END_HEADERS, stream_id, part) for part in parts[1:][-1:]]
    return b"".join(out)


def data(stream_id: int, payload: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
    """A frame of data."""
    flags = END_STREAM if end else 0
    if padding is None:
        return frame(FrameType.DATA, flags, stream_id, payload)
    return frame(FrameType.DATA, flags | PADDED, stream_id, bytes((padding,)) + payload + bytes(padding))


def _text(text: str, *, huffman: bool) -> bytes:
    raw = text.encode()
    if huffman:
        coded = _HUFFMAN.encode(raw)
        return integer(len(coded), first=0x80, bits=7) + bytes(coded)
    return integer(len(raw), first=0, bits=7) + raw


# What most tests begin with: room for every answer.
WIDE: Final = (
    PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW}) + window_update(0, MAX_WINDOW - START_WINDOW)
)


HEADER: Final = block(request_fields())
"""Of a plain request."""


def call(stream_id: int, message: bytes = b"x") -> bytes:
    """A plain call."""
    return headers(stream_id, HEADER) + data(stream_id, prefixed(message), end=True)
