"""Header blocks, against the package hpack."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.http2.hpack import DynamicTable, HeaderListTooLarge, HpackError, decode_block, encode_block
from sardonyx_wire.http2.huffman import HuffmanError, decode_huffman

NAMES = st.sampled_from([b":status", b":path", b"content-type", b"grpc-status", b"x", b"te", b"authorization"]) | (
    st.binary(max_size=40)
)
FIELDS = st.lists(
    st.tuples(NAMES, st.binary(max_size=200) | st.sampled_from([b"200", b"404", b"trailers"])), max_size=8
)
Fields = list[tuple[bytes, bytes]]


def decoded(block: bytes, table: DynamicTable | None = None) -> Fields:
    """Its fields, without a table unless there is one."""
    return decode_block(block, table or DynamicTable(0), max_bytes=1 << 20)


@given(blocks=st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 64, 4096])), max_size=6))
def test_what_hpack_writes_is_read(blocks: list[tuple[Fields, bool, int | None]]) -> None:
    """Any bytes, with and without the Huffman code, by way of a table of changing size."""
    encoder, table = Encoder(), DynamicTable(4096)
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert decoded(encoder.encode(fields, huffman=huffman), table) == fields


def test_a_table_tells_when_it_has_changed() -> None:
    """As long as it has not, equal blocks say the same."""
    encoder, table = Encoder(), DynamicTable(4096)
    decoded(encoder.encode([(b"x", b"1")]), table)
    before = table.changes
    assert decoded(encoder.encode([(b"x", b"1")]), table) == [(b"x", b"1")]
    assert table.changes == before
    decoded(encoder.encode([(b"x", b"2")]), table)
    assert table.changes > before


def test_fields_that_are_too_long_together_are_refused() -> None:
    """A hundred bytes can say a long field a hundred times."""
    encoder, table = Encoder(), DynamicTable(4096)
    decoded(encoder.encode([(b"x", bytes(4000))]), table)
    with pytest.raises(HeaderListTooLarge):
        decode_block(b"\xbe" * 100, table, max_bytes=65536)


@given(fields=FIELDS)
def test_what_we_write_hpack_reads(fields: Fields) -> None:
    """And it leaves nothing in the dynamic table."""
    decoder = Decoder()
    read = decoder.decode(encode_block(fields), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in read] == fields
    assert not decoder.header_table.dynamic_entries


@given(data=st.binary(max_size=80))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    """Fields, or an HpackError."""
    with suppress(HpackError):
        decoded(data)


def test_secrets_are_marked() -> None:
    """A proxy must not index them (RFC 7541, section 7.1.3)."""
    (header,) = Decoder().decode(encode_block([(b"authorization", b"Bearer t")]))
    assert type(header).__name__ == "NeverIndexedHeaderTuple"


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        (b"\xbe", "a header refers to entry 62 of a table that has 61"),
        (b"\x80", "a header refers to entry 0 of a table that has 61"),
        (b"\x3f\xe1\x1f", "a header table of 4096 bytes is larger than the 0 bytes that were agreed"),
        (b"\x88\x20", "the size of a header table changes within a header"),
        (b"\x00\x01", "a header block ends within a field"),
        (b"\xff\xff\xff\xff\xff\x7f", "a number in a header is too large"),
        (b"\x00\x81\xff", "a string of a header ends within a code"),
    ],
)
def test_damage_is_named(damaged: bytes, text: str) -> None:
    """The dynamic table is damage too: it was agreed that there is none."""
    with pytest.raises(HpackError) as raised:
        decoded(damaged)
    assert str(raised.value) == text


def test_a_table_size_of_nothing_at_the_beginning_is_allowed() -> None:
    """Servers acknowledge so that there is none."""
    assert decoded(b"\x20\x88") == [(b":status", b"200")]


@pytest.mark.parametrize("coded", [b"\xff\xff\xff\xff", b"\x07\xff", b"\x00"])
def test_padding_must_be_short_and_all_ones(coded: bytes) -> None:
    """And the end symbol is not sent (RFC 7541, section 5.2)."""
    with pytest.raises(HuffmanError):
        decode_huffman(coded)
