"""The top-level protobuf fields of inference messages: tags, lengths, id and raw payloads. Knows no message type.

Successive messages of one client differ only in the payloads and the id. :func:`split` separates these from the rest
without parsing the rest, so the rest can be the key of a cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ID_TAG",
    "LARGE_PAYLOAD_BYTES",
    "MAX_FIELDS",
    "EncodedMessage",
    "MessageParts",
    "TooManyFields",
    "decode_id",
    "encode_id",
    "encode_length",
    "join",
    "peek_header",
    "read_varint",
    "split",
    "tag",
]

LARGE_PAYLOAD_BYTES: Final = 64 * 1024
"""Payloads of this size are not copied: copying takes longer than sending them as a buffer of their own."""

MAX_FIELDS: Final = 16_384
"""Most top-level fields of a message, far more than any model has tensors. A field can have two bytes only, and each
becomes an object: 256 MiB of such fields, 260 kB when compressed, took 25 GB and two minutes (2026-11-26)."""

# Wire type of strings, bytes and messages (protobuf encoding).
_LENGTH_DELIMITED: Final = 2
# A varint of 64 bits has ten bytes, of seven bits each. A length (up to 2 GiB) has five at most.
_VARINT_BITS: Final = 70
_LENGTH_BYTES: Final = 5


class TooManyFields(ValueError):
    """A message has more than MAX_FIELDS top-level fields."""


class MessageParts:
    """A serialised message as a list of buffers, for scatter-gather output: large payloads are not copied.

    ``bytes()`` joins the buffers, ``len()`` is the size of the joined message.

    Args:
        parts: The buffers, in order; memoryviews of single bytes. The message keeps alive what they are views of.
    """

    __slots__ = ("_size", "parts")

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self.parts = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


EncodedMessage = bytes | MessageParts
"""A serialised message that is to be sent."""


def tag(number: int) -> int:
    """Wire tag of a length-delimited field, for field numbers below 16: one byte."""
    return number << 3 | _LENGTH_DELIMITED


ID_TAG: Final = tag(3)
"""Tag of ``id``, which is field 3 of requests and of responses."""


def split(  # noqa: C901 -- one loop over the fields of every request
    message: bytes | memoryview, *, header_tags: frozenset[int], raw_tag: int
) -> tuple[bytes, bytes, list[memoryview]] | None:
    """Split a message into header, id and payloads.

    Args:
        message: Serialised; a memoryview must be one of single bytes.
        header_tags: Tags of the fields that make up the header.
        raw_tag: Tag of the payloads, which come last.

    Returns:
        (bytes of all header fields, bytes of the id field or b"", a view of each payload). None where the message is
        unusual or malformed, and protobuf has to parse it: an unknown field, an id that is sent twice or is not UTF-8,
        a header field after a payload, a length beyond the end.

    Raises:
        TooManyFields: The message has more than MAX_FIELDS fields.
    """
    payloads: list[memoryview] = []
    id_start = id_stop = 0
    header_stop = position = 0
    stop = len(message)
    view = memoryview(message)
    try:
        for _ in _FIELDS:
            if position >= stop:
                break
            field = message[position]
            length = message[position + 1]
            start = position + 2
            if length > 127:
                length, start = _long_length(message, position + 1)
            end = start + length
            if end > stop:
                return None
            if field == raw_tag:
                payloads.append(view[start:end])
            elif payloads:
                return None
            elif field in header_tags:
                header_stop = end
            elif field == ID_TAG and not id_stop:
                str(view[start:end], "utf-8")
                id_start, id_stop = position, end
                header_stop = end
            else:
                return None
            position = end
    except (IndexError, UnicodeDecodeError):
        return None
    if position < stop:
        raise TooManyFields(f"the message has more than {MAX_FIELDS} fields, which no model takes")
    if not isinstance(message, bytes):
        message = bytes(view[:header_stop])
    header = message[:id_start] + message[id_stop:header_stop] if id_stop else message[:header_stop]
    return header, message[id_start:id_stop], payloads


def peek_header(beginning: bytes | memoryview, *, header_tags: frozenset[int], raw_tag: int) -> bytes | None:
    """The header fields of a message of which only the beginning has arrived, as :func:`split` returns them.

    Assumes that no header field follows the payloads.

    Args:
        beginning: The first bytes of the message, cut at any position.
        header_tags: As for :func:`split`.
        raw_tag: As for :func:`split`.

    Returns:
        The bytes of the header fields; None where the first payload has not begun yet, or the message is unusual or
        malformed.
    """
    id_start = id_stop = position = 0
    try:
        while (field := beginning[position]) != raw_tag:
            length = beginning[position + 1]
            start = position + 2
            if length > 127:
                length, start = _long_length(beginning, position + 1)
            if field == ID_TAG and not id_stop:
                id_start, id_stop = position, start + length
            elif field not in header_tags:
                return None
            position = start + length
    except IndexError:
        return None
    return bytes(beginning[:id_start]) + bytes(beginning[id_stop:position])


def join(
    head: bytes, id_field: bytes, tail: bytes, raw_tag: bytes, payloads: Sequence[bytes | memoryview]
) -> EncodedMessage:
    """Assemble a message. Copies the payloads once, or not at all where one of them is large.

    Args:
        head: Wire bytes of the fields before the id.
        id_field: Wire bytes of the id field, or b"".
        tail: Wire bytes of the fields between the id and the payloads.
        raw_tag: Tag of the payloads, as one byte.
        payloads: In order; memoryviews of single bytes.
    """
    buffers: list[bytes | memoryview] = [head, id_field, tail]
    for payload in payloads:
        length = len(payload)
        buffers += (raw_tag, _SHORT_LENGTHS[length] if length < 128 else encode_length(length), payload)
        if length >= LARGE_PAYLOAD_BYTES:
            return _join_parts(head + id_field + tail, raw_tag, payloads)
    return b"".join(buffers)


def _join_parts(header: bytes, raw_tag: bytes, payloads: Sequence[bytes | memoryview]) -> MessageParts:
    """As :func:`join`: large payloads stay buffers of their own, everything between them is joined."""
    parts: list[bytes | memoryview] = []
    for payload in payloads:
        header += raw_tag + encode_length(len(payload))
        if len(payload) >= LARGE_PAYLOAD_BYTES:
            parts += (header, payload)
            header = b""
        else:
            header += payload
    if header:
        parts.append(header)
    return MessageParts(parts)


def encode_id(request_id: str) -> bytes:
    """Wire bytes of the id field, b"" for an empty id."""
    if not request_id:
        return b""
    encoded = request_id.encode()
    return _ID_FIELD + encode_length(len(encoded)) + encoded


def decode_id(field: bytes) -> str:
    """The id in an id field that :func:`split` or :func:`encode_id` returned; "" for b""."""
    if not field:
        return ""
    start = 2 if field[1] < 128 else _long_length(field, 1)[1]
    return field[start:].decode()


def encode_length(value: int) -> bytes:
    """Encode a length as a varint (protobuf encoding, section "Base 128 Varints")."""
    if value < 128:
        return bytes((value,))
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def read_varint(message: bytes | memoryview, position: int) -> tuple[int, int]:
    """Varint of up to 64 bits -> (value, position after it). Raises IndexError where it is cut off or too long."""
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise IndexError(position)


def _long_length(message: bytes | memoryview, start: int) -> tuple[int, int]:
    """Varint at ``start`` -> (value, position after it). Raises IndexError where it is cut off or too long."""
    value = 0
    for index in range(_LENGTH_BYTES):
        byte = message[start + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, start + index + 1
    raise IndexError(start)


_FIELDS: Final = range(MAX_FIELDS)
_SHORT_LENGTHS: Final = tuple(encode_length(length) for length in range(128))
_ID_FIELD: Final = bytes((ID_TAG,))
