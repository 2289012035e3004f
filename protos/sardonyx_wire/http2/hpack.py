"""Header blocks of HTTP/2 (HPACK, RFC 7541).

The encoder uses the static table and literals without indexing only, so an encoded block is valid in any position. The
decoder supports the dynamic table. The server has to: clients send before they have seen its settings. The client
disables it, by SETTINGS_HEADER_TABLE_SIZE 0. We do not use the package ``hpack``: it would be one more dependency for
everybody who installs the client, and it does not tell whether a decoded block may be cached. Tests compare this module
with it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.huffman import HuffmanError, decode_huffman

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DynamicTable",
    "Field",
    "HeaderListTooLarge",
    "HpackError",
    "decode_block",
    "encode_block",
    "header_list_bytes",
]

Field = tuple[bytes, bytes]
"""Name, in lower case, and value."""

# The static table (RFC 7541, appendix A): names in order, with the values of those entries that have one.
_STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", code) for code in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
            b"content-disposition content-encoding content-language content-length content-location content-range "
            b"content-type cookie date etag expect expires from host if-match if-modified-since if-none-match "
            b"if-range if-unmodified-since last-modified link location max-forwards proxy-authenticate "
            b"proxy-authorization range referer refresh retry-after server set-cookie strict-transport-security "
            b"transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)
_INDEX: Final[dict[Field, int]] = {field: index for index, field in reversed(list(enumerate(_STATIC, 1)))}
_NAME_INDEX: Final[dict[bytes, int]] = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}

# First bits of a field's representation (RFC 7541, section 6).
_INDEXED: Final = 0x80
_LITERAL_INDEXED: Final = 0x40
_TABLE_SIZE: Final = 0x20
_NEVER_INDEXED: Final = 0x10
_HUFFMAN: Final = 0x80
# Longest integer that is accepted. A longer length or index is an attack, not a header.
_INTEGER_BITS: Final = 28

# Sent as never indexed (RFC 7541, section 7.1.3).
_SECRETS: Final = frozenset({b"authorization", b"cookie"})


# Overhead of a field in the size of tables and lists (RFC 7541, section 4.1; RFC 9113, section 10.5.1).
_FIELD_BYTES: Final = 32


class HpackError(ValueError):
    """The bytes are not a valid header block, or need a larger dynamic table than was agreed."""


class HeaderListTooLarge(HpackError):
    """The decoded header list is larger than accepted. A few bytes can refer to one long field again and again."""


class DynamicTable:
    """The decoder's dynamic table, for the header blocks of one peer (RFC 7541, section 2.3.2).

    Args:
        limit_bytes: Our SETTINGS_HEADER_TABLE_SIZE, which is also the initial size.

    Attributes:
        changes: Number of changes so far. While it stays the same, equal blocks decode to equal fields.
    """

    __slots__ = ("_entries", "_limit_bytes", "_max_bytes", "_used_bytes", "changes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = self._max_bytes = limit_bytes
        self._used_bytes = 0
        # Newest first.
        self._entries: deque[Field] = deque()
        self.changes = 0

    def resize(self, max_bytes: int) -> None:
        """The peer sent a dynamic table size update.

        Raises:
            HpackError: The size is larger than was agreed.
        """
        if max_bytes > self._limit_bytes:
            raise HpackError(
                f"a header table of {max_bytes} bytes is larger than the {self._limit_bytes} bytes that were agreed"
            )
        self.changes += 1
        self._max_bytes = max_bytes
        self._evict()

    def add(self, field: Field) -> None:
        """Insert a field at the front. Evicts the oldest for room; a field larger than the table empties it."""
        self.changes += 1
        self._entries.appendleft(field)
        self._used_bytes += _size(field)
        self._evict()

    def entry(self, index: int) -> Field:
        """Field by its index: static entries first, then dynamic ones.

        Raises:
            HpackError: No entry has this index.
        """
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        position = index - len(_STATIC) - 1
        if not 0 <= position < len(self._entries):
            raise HpackError(
                f"a header refers to entry {index} of a table that has {len(_STATIC) + len(self._entries)}"
            )
        return self._entries[position]

    def _evict(self) -> None:
        while self._used_bytes > self._max_bytes:
            self._used_bytes -= _size(self._entries.pop())


def encode_block(fields: Iterable[Field]) -> bytes:
    """Encode fields. Credentials are marked as never indexed (RFC 7541, section 7.1.3)."""
    block = bytearray()
    for name, value in fields:
        index = _INDEX.get((name, value))
        if index is not None and value:
            block += _integer(index, 7, _INDEXED)
            continue
        kind = _NEVER_INDEXED if name in _SECRETS else 0
        index = _NAME_INDEX.get(name)
        block += _integer(index or 0, 4, kind)
        if index is None:
            block += _integer(len(name), 7, 0) + name
        block += _integer(len(value), 7, 0) + value
    return bytes(block)


def decode_block(block: bytes, table: DynamicTable, *, max_bytes: int) -> list[Field]:
    """Decode a header block.

    Args:
        block: A complete block.
        table: Dynamic table of the peer that sent it; updated as the block says. It cannot be used after an error.
        max_bytes: Largest header list that is accepted, counted as the protocol counts it: 32 bytes for each field,
            plus its name and value.

    Returns:
        The fields in the order sent.

    Raises:
        HeaderListTooLarge: The header list is larger than that.
        HpackError: The block is malformed, or refers to an entry that is not in the table.
    """
    fields: list[Field] = []
    position = 0
    try:
        while position < len(block):
            first = block[position]
            if first & _INDEXED:
                index, position = _read_integer(block, position, 7)
                field = table.entry(index)
            elif first & (_LITERAL_INDEXED | _TABLE_SIZE) == _TABLE_SIZE:
                if fields:
                    raise HpackError("the size of a header table changes within a header")
                size, position = _read_integer(block, position, 5)
                table.resize(size)
                continue
            else:
                indexed = first & _LITERAL_INDEXED
                index, position = _read_integer(block, position, 6 if indexed else 4)
                if index:
                    name = table.entry(index)[0]
                else:
                    name, position = _read_string(block, position, max_bytes)
                value, position = _read_string(block, position, max_bytes)
                field = name, value
                if indexed:
                    table.add(field)
            fields.append(field)
            max_bytes -= _size(field)
            if max_bytes < 0:
                raise HeaderListTooLarge("the fields of a header are longer than is accepted")
    except IndexError:
        raise HpackError("a header block ends within a field") from None
    except HuffmanError as error:
        raise HpackError(str(error)) from error
    return fields


def header_list_bytes(fields: Iterable[Field]) -> int:
    """Size of a header list as the protocol counts it: 32 bytes for each field, plus its name and value."""
    return sum(map(_size, fields))


def _size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + _FIELD_BYTES


def _integer(value: int, bits: int, kind: int) -> bytes:
    """Encode an integer with a prefix of ``bits`` bits (RFC 7541, section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((kind | value,))
    encoded = bytearray((kind | most,))
    value -= most
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    """(value, position after it). Raises IndexError where the block ends within it."""
    most = (1 << bits) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    for shift in range(0, _INTEGER_BITS, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    raise HpackError("a number in a header is too large")


def _read_string(block: bytes, position: int, max_bytes: int) -> tuple[bytes, int]:
    """(string, position after it). Raises IndexError where the block ends within it."""
    coded = block[position] & _HUFFMAN
    length, position = _read_integer(block, position, 7)
    end = position + length
    if end > len(block):
        raise IndexError(end)
    if length > max_bytes:
        raise HeaderListTooLarge("the fields of a header are longer than is accepted")
    string = block[position:end]
    return decode_huffman(string) if coded else string, end
