"""Compressed messages: as gRPC names the ways, and chooses among them."""

from __future__ import annotations

import zlib
from typing import Final, Literal

from sardonyx_server.errors import InvalidRequest, MessageTooLarge

__all__ = ["ENCODINGS", "Level", "choose", "compress", "decompress"]

Level = Literal["none", "low", "medium", "high"]
"""How much work goes into compressing answers."""

ENCODINGS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
"""``grpc-encoding`` -> the format as zlib numbers it; the order is that of the work."""


def choose(level: Level, accepted: bytes) -> bytes:
    """How to compress the answers of a call, as gRPC's core chooses.

    Args:
        level: The operator's.
        accepted: ``grpc-accept-encoding`` of the caller.

    Returns:
        One of :data:`ENCODINGS`, or b"" for not at all.
    """
    if level == "none":
        return b""
    names = {name.strip() for name in accepted.split(b",")}
    known = [name for name in ENCODINGS if name in names]
    if not known:
        return b""
    return {"low": known[0], "medium": known[len(known) // 2], "high": known[-1]}[level]


def compress(message: bytes, encoding: bytes) -> bytes | None:
    """A message in fewer bytes; None where they would not be fewer."""
    packer = zlib.compressobj(wbits=ENCODINGS[encoding])
    packed = packer.compress(message) + packer.flush()
    return packed if len(packed) < len(message) else None


def decompress(packed: bytes | memoryview, encoding: bytes, max_bytes: int) -> bytes:
    """The message in a compressed one.

    Args:
        packed: As it came.
        encoding: ``grpc-encoding`` of the request.
        max_bytes: What is accepted of one message.

    Raises:
        InvalidRequest: It is damaged, or has something behind it.
        MessageTooLarge: It has more bytes than are accepted, or than there is memory for.
    """
    reader = zlib.decompressobj(ENCODINGS[encoding])
    try:
        message = reader.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the message is no {encoding.decode()}: {error}", reason="MALFORMED_MESSAGE") from error
    except MemoryError as error:
        raise MessageTooLarge("not enough memory to decompress the message", reason="OUT_OF_MEMORY") from error
    if len(message) > max_bytes:
        text = f"the message is larger than max_message_bytes: it has over {max_bytes} bytes once it is decompressed"
        raise MessageTooLarge(f"{text}; send less at a time, or have the server's limit raised")
    if not reader.eof:
        raise InvalidRequest(f"the {encoding.decode()} of the message is cut off", reason="MALFORMED_MESSAGE")
    if reader.unused_data:
        text = f"{len(reader.unused_data)} bytes follow the {encoding.decode()} of the message"
        raise InvalidRequest(text, reason="MALFORMED_MESSAGE")
    return message
