"""Message compression: gRPC's encodings, and the choice among them."""

from __future__ import annotations

import zlib
from typing import Final, Literal

from sardonyx_server.errors import InvalidRequest, MessageTooLarge

__all__ = ["ENCODINGS", "Level", "choose", "compress", "decompress"]

Level = Literal["none", "low", "medium", "high"]
"""Compression level of responses: how much work goes into compression."""

ENCODINGS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
"""``grpc-encoding`` -> ``wbits`` of zlib, in order of increasing compression level (see :func:`choose`)."""


def choose(level: Level, accepted: bytes) -> bytes:
    """Choose the encoding of a call's responses, as gRPC's core does.

    Args:
        level: The configured level.
        accepted: ``grpc-accept-encoding`` of the caller.

    Returns:
        One of :data:`ENCODINGS`, or b"" = no compression.
    """
    if level == "none":
        return b""
    names = {name.strip() for name in accepted.split(b",")}
    known = [name for name in ENCODINGS if name in names]
    if not known:
        return b""
    return {"low": known[0], "medium": known[len(known) // 2], "high": known[-1]}[level]


def compress(message: bytes, encoding: bytes) -> bytes | None:
    """Compress a message; None where the result would not be smaller."""
    packer = zlib.compressobj(wbits=ENCODINGS[encoding])
    packed = packer.compress(message) + packer.flush()
    return packed if len(packed) < len(message) else None


def decompress(packed: bytes | memoryview, encoding: bytes, max_bytes: int) -> bytes:
    """Decompress a message.

    Args:
        packed: The compressed message.
        encoding: ``grpc-encoding`` of the request.
        max_bytes: Size limit of the decompressed message.

    Raises:
        InvalidRequest: The message is damaged or truncated, or bytes follow it.
        MessageTooLarge: The decompressed message exceeds the limit, or there is not enough memory for it.
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
