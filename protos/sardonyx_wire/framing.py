"""The outer form of inference messages: top-level fields, lengths, the id and the raw payloads. Knows no message type.

Messages of one caller repeat everything but the payloads and the id. :func:`split` cuts those out without looking into
anything else, so what remains can be the key of a memo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ID_TAG",
    "LARGE_BYTES",
    "MOST_FIELDS",
    "Message",
    "Pieces",
    "TooManyFields",
    "begin",
    "decode_id",
    "encode_id",
    "encode_length",
    "join",
    "read_varint",
    "split",
    "tag",
]

LARGE_BYTES: Final = 64 * 1024
"""A payload of this size is left where it lies: to copy it takes longer than to send it as a piece of its own."""

MOST_FIELDS: Final = 16_384
"""Top-level fields of a message: far more than any model has tensors. Two bytes are enough for one, and each becomes an
object: 256 MiB of them, which are 260 kB when they are compressed, took 25 GB and two minutes (2026-11-26)."""

# Wire type of strings, bytes and messages (protobuf encoding).
_LENGTH_DELIMITED: Final = 2
# Ten varint bytes, of seven bits each, hold 64 bits; a length never needs more than five (2 GiB).
_VARINT_BITS: Final = 70
_LENGTH_BYTES: Final = 5


class TooManyFields(ValueError):
    """A message has more than MOST_FIELDS top-level fields."""


class Pieces:
    """A message that has large payloads, not put together: who writes it to a socket needs no copy of them.

    ``bytes()`` puts it together, ``len()`` is its size then.

    Args:
        pieces: In order; memoryviews of single bytes. Whoever holds the message holds what they are views of.
    """

    __slots__ = ("_size", "pieces")

    def __init__(self, pieces: Sequence[bytes | memoryview]) -> None:
        self.pieces = pieces
        self._size = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


Message = bytes | Pieces
"""A serialised message, to be sent."""


def tag(number: int) -> int:
    """Wire tag of a length-delimited field, for field numbers below 16: one byte."""
    return number << 3 | _LENGTH_DELIMITED


ID_TAG: Final = tag(3)
"""Tag of ``id``, which is field 3 of requests and of responses."""


def split(  # noqa: C901 -- one walk, a step of which is done for each request's fields
    message: bytes | memoryview, *, header_tags: frozenset[int], raw_tag: int
) -> tuple[bytes, bytes, list[memoryview]] | None:
    """Cut a message into what repeats and what does not.

    Args:
        message: Serialised; a memoryview must be one of single bytes.
        header_tags: Tags of the top-level fields that repeat.
        raw_tag: Tag of the payloads, which come last.

    Returns:
        (bytes of all header fields, bytes of the id field or b"", a view of each payload); None where the message is
        unusual or broken: an unknown field, an id sent twice or not UTF-8, a header field behind a payload, a length
        beyond the end. Then protobuf decides.

    Raises:
        TooManyFields: It has.
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
        raise TooManyFields(f"the message has more than {MOST_FIELDS} fields, which no model takes")
    if not isinstance(message, bytes):
        message = bytes(view[:header_stop])
    header = message[:id_start] + message[id_stop:header_stop] if id_stop else message[:header_stop]
    return header, message[id_start:id_stop], payloads


def begin(beginning: bytes | memoryview, *, header_tags: frozenset[int], raw_tag: int) -> bytes | None:
    """Bytes of all header fields, as :func:`split` gives them, of a message of which only the beginning has come.

    It is taken for granted that nothing of the header stands behind the payloads.

    Args:
        beginning: Up to anywhere.
        header_tags: As for :func:`split`.
        raw_tag: Likewise.

    Returns:
        None where the first payload has not begun yet, or the message is unusual or broken.
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


def join(head: bytes, id_field: bytes, tail: bytes, raw_tag: bytes, payloads: Sequence[bytes | memoryview]) -> Message:
    """Put a message together: one copy of the payloads, or none where one is large.

    Args:
        head: Wire bytes of the fields before the id.
        id_field: Wire bytes of the id field, or b"".
        tail: Wire bytes of the fields between the id and the payloads.
        raw_tag: Tag of the payloads, as one byte.
        payloads: In order; memoryviews of single bytes.
    """
    parts: list[bytes | memoryview] = [head, id_field, tail]
    for payload in payloads:
        length = len(payload)
        parts += (raw_tag, _SHORT_LENGTHS[length] if length < 128 else encode_length(length), payload)
        if length >= LARGE_BYTES:
            return _pieces(head + id_field + tail, raw_tag, payloads)
    return b"".join(parts)


def _pieces(header: bytes, raw_tag: bytes, payloads: Sequence[bytes | memoryview]) -> Pieces:
    """The same with large payloads apart, and what stands between them joined."""
    pieces: list[bytes | memoryview] = []
    for payload in payloads:
        header += raw_tag + encode_length(len(payload))
        if len(payload) >= LARGE_BYTES:
            pieces += (header, payload)
            header = b""
        else:
            header += payload
    if header:
        pieces.append(header)
    return Pieces(pieces)


def encode_id(request_id: str) -> bytes:
    """Wire bytes of the id field, b"" for an empty id."""
    if not request_id:
        return b""
    encoded = request_id.encode()
    return _ID_FIELD + encode_length(len(encoded)) + encoded


def decode_id(field: bytes) -> str:
    """The id in the wire bytes of an id field that :func:`split` or :func:`encode_id` gave; "" for b""."""
    if not field:
        return ""
    start = 2 if field[1] < 128 else _long_length(field, 1)[1]
    return field[start:].decode()


def encode_length(value: int) -> bytes:
    """Varint of a length (protobuf encoding, section "Base 128 Varints")."""
    if value < 128:
        return bytes((value,))
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def read_varint(message: bytes | memoryview, position: int) -> tuple[int, int]:
    """Varint of up to 64 bits -> (value, position after it). Raises IndexError where it does not end in time."""
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise IndexError(position)


def _long_length(message: bytes | memoryview, start: int) -> tuple[int, int]:
    """Varint at ``start`` -> (value, position after it). Raises IndexError where it does not end in time."""
    value = 0
    for index in range(_LENGTH_BYTES):
        byte = message[start + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, start + index + 1
    raise IndexError(start)


_FIELDS: Final = range(MOST_FIELDS)
_SHORT_LENGTHS: Final = tuple(encode_length(length) for length in range(128))
_ID_FIELD: Final = bytes((ID_TAG,))
