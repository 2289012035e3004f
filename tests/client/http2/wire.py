"""What a server says, as bytes: written with the package hpack, so that the client does not read its own writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpack import Encoder

from sardonyx_client._http2.connection import Http2Connection
from sardonyx_client._http2.response_headers import HeaderDecoder
from sardonyx_wire.http2.frames import FRAME_HEADER, FRAME_HEADER_BYTES, SETTING, Flag, FrameType, frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["OPENING", "TRAILERS", "answer", "connected", "data", "feed", "frames_of", "headers", "prefixed", "settings"]

OPENING = ((":status", "200"), ("content-type", "application/grpc"))
TRAILERS = (("grpc-status", "0"),)


def block(fields: Iterable[tuple[str, Any]], *, huffman: bool = True) -> bytes:
    """A header block by an encoder without a dynamic table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.table_size_changes.clear()
    encoded: bytes = encoder.encode(list(fields), huffman=huffman)
    return encoded


def headers(
    stream_id: int, fields: Iterable[tuple[str, Any]], *, end: bool = False, pieces: int = 1, huffman: bool = True
) -> bytes:
    """A header, in so many frames."""
    encoded = block(fields, huffman=huffman)
    cuts = [len(encoded) * index // pieces for index in range(pieces + 1)]
    out = b""
    for index in range(pieces):
        flags = Flag.END_STREAM if end and not index else 0
        flags |= Flag.END_HEADERS if index == pieces - 1 else 0
        kind = FrameType.CONTINUATION if index else FrameType.HEADERS
        out += frame(kind, flags, stream_id, encoded[cuts[index] : cuts[index + 1]])
    return out


def data(stream_id: int, payload: bytes, *, end: bool = False, padding: int | None = None) -> bytes:
    """A frame of data."""
    flags = Flag.END_STREAM if end else 0
    if padding is None:
        return frame(FrameType.DATA, flags, stream_id, payload)
    return frame(FrameType.DATA, flags | Flag.PADDED, stream_id, bytes((padding,)) + payload + bytes(padding))


def prefixed(message: bytes, *, flag: int = 0) -> bytes:
    """A message as gRPC frames it."""
    return bytes((flag,)) + len(message).to_bytes(4) + message


def answer(stream_id: int, message: bytes) -> bytes:
    """A whole answer."""
    return headers(stream_id, OPENING) + data(stream_id, prefixed(message)) + headers(stream_id, TRAILERS, end=True)


def settings(**values: int) -> bytes:
    """Settings by their names in ``Setting``."""
    from sardonyx_wire.http2.frames import Setting

    return frame(
        FrameType.SETTINGS, 0, 0, b"".join(SETTING.pack(Setting[name], value) for name, value in values.items())
    )


def feed(connection: Http2Connection, received: bytes, *, at_once: int = 1 << 30) -> None:
    """As a socket gives it, so many bytes at once."""
    while received:
        buffer = connection.buffer
        assert len(buffer), "a socket that has something must be able to give it"
        size = min(len(buffer), len(received), at_once)
        buffer[:size] = received[:size]
        connection.buffer_updated(size)
        received = received[size:]


def connected(max_message_bytes: int | None = None, **values: int) -> Http2Connection:
    """A connection whose server has said these settings, and to which nothing more is to be sent."""
    connection = Http2Connection(HeaderDecoder(), max_message_bytes)
    feed(connection, settings(**values))
    connection.data_to_send()
    return connection


def frames_of(sent: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, payload) of each."""
    while sent:
        high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(sent)
        end = FRAME_HEADER_BYTES + (high << 8 | low)
        assert len(sent) >= end
        yield kind, flags, stream_id, sent[FRAME_HEADER_BYTES:end]
        sent = sent[end:]
