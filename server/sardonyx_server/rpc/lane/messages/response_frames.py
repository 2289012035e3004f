"""Encodes responses and errors as HTTP/2 frames."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sardonyx_server.errors import Overloaded
from sardonyx_server.rpc.lane.flow_control.outflow import append_data_frames
from sardonyx_server.rpc.lane.messages.compression import compress
from sardonyx_server.rpc.lane.messages.message_assembly import PREFIX_BYTES
from sardonyx_server.rpc.status import to_status
from sardonyx_wire.http2.constants import DATA, END_HEADERS, END_STREAM
from sardonyx_wire.http2.frames import DEFAULT_FRAME_BYTES, FrameType, frame, frame_header
from sardonyx_wire.http2.hpack import encode_block
from sardonyx_wire.protobuf_fields import MessageParts

if TYPE_CHECKING:
    from sardonyx_server.rpc.status import Status
    from sardonyx_wire.http2.hpack import Field
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = [
    "COPIED_BYTES",
    "OK_TRAILERS",
    "TrailersOnlyBlocks",
    "append_response",
    "header_frames",
    "length_prefixed_parts",
    "message_prefix",
    "response_envelope",
    "response_headers_block",
    "short_response",
    "trailers_block",
]

COPIED_BYTES: Final = 32 * 1024
"""Messages up to this size are copied into one buffer with their frames; larger ones are written without a copy."""

# Memoized header blocks, which contain nothing about a caller: some 500 bytes each.
_MEMO_ENTRIES: Final = 256

_BEGINNING: Final[tuple[Field, ...]] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
# Header block of the response headers.
_RESPONSE_HEADERS: Final = encode_block(_BEGINNING)

OK_TRAILERS: Final = encode_block([(b"grpc-status", b"0")])
"""Header block of the trailers with status OK."""

# Characters of ``grpc-message`` that are not percent-encoded (gRPC over HTTP/2, "Percent-Byte-Unencoded").
_UNQUOTED: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def response_headers_block(encoding: bytes) -> bytes:
    """Header block of the response headers; ``encoding``: their ``grpc-encoding``, b"" = none."""
    return _RESPONSE_HEADERS + encode_block([(b"grpc-encoding", encoding)]) if encoding else _RESPONSE_HEADERS


class TrailersOnlyBlocks:
    """Trailers-only responses: header blocks that are the whole response of a failed call.

    Blocks of overload errors are memoized. Under overload they are many and alike, and encoding each one would take CPU
    time from the models.
    """

    __slots__ = ("_memo",)

    def __init__(self) -> None:
        self._memo: dict[tuple[type[Overloaded], str, str, float | None], bytes] = {}

    def of(self, error: Exception) -> bytes:
        """The header block of an error."""
        if not isinstance(error, Overloaded):
            return _failure_block(error)
        key = type(error), error.message, error.reason, error.retry_after_s
        block = self._memo.get(key)
        if block is None:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            block = self._memo[key] = _failure_block(error)
        return block


def _failure_block(error: Exception) -> bytes:
    return trailers_block(to_status(error), first=True)


def trailers_block(status: Status | None, *, first: bool) -> bytes:
    """Header block of the trailers; None = OK. ``first``: no response headers were sent, so it includes them."""
    beginning = _RESPONSE_HEADERS if first else b""
    if status is None:
        return beginning + OK_TRAILERS
    fields: list[Field] = [
        (b"grpc-status", b"%d" % status.code),
        (b"grpc-message", quote(status.message, safe=_UNQUOTED).encode()),
    ]
    for name, value in status.trailing:
        text = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1")
        fields.append((name.encode("latin-1"), text))
    return beginning + encode_block(fields)


def header_frames(stream_id: int, block: bytes, *, end: bool) -> bytes:
    """HEADERS, and CONTINUATION where needed, with a header block; ``end``: with END_STREAM."""
    flags = END_STREAM if end else 0
    if len(block) <= DEFAULT_FRAME_BYTES:
        return frame_header(FrameType.HEADERS, flags | END_HEADERS, stream_id, len(block)) + block
    starts = range(0, len(block), DEFAULT_FRAME_BYTES)
    pieces = [block[start : start + DEFAULT_FRAME_BYTES] for start in starts]
    frames = [frame(FrameType.HEADERS, flags, stream_id, pieces[0])]
    frames += [frame(FrameType.CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    frames.append(frame(FrameType.CONTINUATION, END_HEADERS, stream_id, pieces[-1]))
    return b"".join(frames)


# HEADERS frame headers without the stream id, and the DATA frame header together with the message prefix.
_RESPONSE_HEADERS_HEAD: Final = header_frames(0, _RESPONSE_HEADERS, end=False)[:5]
_OK_TRAILERS_HEAD: Final = header_frames(0, OK_TRAILERS, end=True)[:5]
_STREAM_ID: Final = struct.Struct(">L")
_MESSAGE_HEAD: Final = struct.Struct(">BHBBLBL")


def response_envelope(stream_id: int, length: int) -> tuple[bytes, bytes]:
    """All bytes before and after a message of ``length`` bytes, in a response whose message fits into one frame."""
    number = _STREAM_ID.pack(stream_id)
    return _RESPONSE_HEADERS_HEAD + number + _RESPONSE_HEADERS + message_prefix(
        stream_id, length
    ), _OK_TRAILERS_HEAD + number + OK_TRAILERS


def short_response(stream_id: int, message: bytes) -> bytes:
    """A whole response, as of :func:`response_envelope`, joined in one step, which saves time on each call."""
    number = stream_id.to_bytes(4)
    length = len(message)
    # DATA has type 0 and no flags are set. The prefix begins with 0, because the message is not compressed.
    data_head = (length + PREFIX_BYTES << 16).to_bytes(5)
    prefix = length.to_bytes(PREFIX_BYTES)
    return b"".join(
        (
            _RESPONSE_HEADERS_HEAD,
            number,
            _RESPONSE_HEADERS,
            data_head,
            number,
            prefix,
            message,
            _OK_TRAILERS_HEAD,
            number,
            OK_TRAILERS,
        )
    )


def message_prefix(stream_id: int, length: int) -> bytes:
    """DATA frame header and gRPC's prefix of a message of ``length`` bytes that fits into one frame."""
    size = length + PREFIX_BYTES
    return _MESSAGE_HEAD.pack(size >> 16, size & 0xFFFF, DATA, 0, stream_id, 0, length)


def append_response(message: EncodedMessage, stream_id: int, frame_bytes: int, out: list[bytes | memoryview]) -> None:
    """Append a whole response to ``out``, in DATA frames of at most ``frame_bytes``. Requires: the windows admit it."""
    out.append(header_frames(stream_id, _RESPONSE_HEADERS, end=False))
    for part in length_prefixed_parts(message, b""):
        append_data_frames(part, stream_id, frame_bytes, out)
    out.append(header_frames(stream_id, OK_TRAILERS, end=True))


def length_prefixed_parts(message: EncodedMessage, encoding: bytes) -> list[memoryview]:
    """A message with its prefix; compressed where ``encoding`` is set, it gets smaller, and there is enough memory."""
    packed = _packed(message, encoding) if encoding else None
    if packed is None and isinstance(message, MessageParts):
        first, *rest = message.parts
        beginning = b"\0" + len(message).to_bytes(PREFIX_BYTES - 1)
        if len(first) <= COPIED_BYTES:
            return [memoryview(beginning + first), *(memoryview(piece) for piece in rest)]
        return [memoryview(beginning), *(memoryview(piece) for piece in message.parts)]
    body = bytes(message) if packed is None else packed
    prefix = bytes((packed is not None,)) + len(body).to_bytes(PREFIX_BYTES - 1)
    return [memoryview(prefix + body)] if len(body) <= COPIED_BYTES else [memoryview(prefix), memoryview(body)]


def _packed(message: EncodedMessage, encoding: bytes) -> bytes | None:
    """Compress a message; None where the result would not be smaller, or there is not enough memory."""
    try:
        return compress(bytes(message), encoding)
    except MemoryError:
        return None
