"""Header blocks, against the package hpack."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_client._lane.hpack import HpackError, decode_block, encode_block
from sardonyx_client._lane.huffman import HuffmanError, decode_huffman
from tests.client.lane.wire import block

NAMES = st.sampled_from([b":status", b":path", b"content-type", b"grpc-status", b"x", b"te", b"authorization"]) | (
    st.binary(max_size=40)
)
FIELDS = st.lists(
    st.tuples(NAMES, st.binary(max_size=200) | st.sampled_from([b"200", b"404", b"trailers"])), max_size=8
)


@given(fields=FIELDS, huffman=st.booleans())
def test_what_hpack_writes_is_read(fields: list[tuple[bytes, bytes]], huffman: bool) -> None:
    """With and without the Huffman code, any bytes."""
    assert decode_block(block(fields, huffman=huffman)) == fields  # type: ignore[arg-type]  # bytes as well as text


@given(fields=FIELDS)
def test_what_we_write_hpack_reads(fields: list[tuple[bytes, bytes]]) -> None:
    """And it leaves nothing in the dynamic table."""
    decoder = Decoder()
    read = decoder.decode(encode_block(fields), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in read] == fields
    assert not decoder.header_table.dynamic_entries


@given(data=st.binary(max_size=80))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    """Fields, or an HpackError."""
    with suppress(HpackError):
        decode_block(data)


def test_secrets_are_marked() -> None:
    """A proxy must not index them (RFC 7541, section 7.1.3)."""
    (header,) = Decoder().decode(encode_block([(b"authorization", b"Bearer t")]))
    assert type(header).__name__ == "NeverIndexedHeaderTuple"


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        (b"\xbe", "a header refers to entry 62 of a table that has 61"),
        (b"\x80", "a header refers to entry 0 of a table that has 61"),
        (b"\x3f\xe1\x1f", "the server's header table is larger than the 0 bytes that were agreed"),
        (b"\x88\x20", "the server's header table is larger than the 0 bytes that were agreed"),
        (b"\x00\x01", "a header block ends within a field"),
        (b"\xff\xff\xff\xff\xff\x7f", "a number in a header is too large"),
        (b"\x00\x81\xff", "a string of a header ends within a code"),
    ],
)
def test_damage_is_named(damaged: bytes, text: str) -> None:
    """The dynamic table is damage too: it was agreed that there is none."""
    with pytest.raises(HpackError) as raised:
        decode_block(damaged)
    assert str(raised.value) == text


def test_a_table_size_of_nothing_at_the_beginning_is_allowed() -> None:
    """Servers acknowledge so that there is none."""
    assert decode_block(b"\x20\x88") == [(b":status", b"200")]


@pytest.mark.parametrize("coded", [b"\xff\xff\xff\xff", b"\x07\xff", b"\x00"])
def test_padding_must_be_short_and_all_ones(coded: bytes) -> None:
    """And the end symbol is not sent (RFC 7541, section 5.2)."""
    with pytest.raises(HuffmanError):
        decode_huffman(coded)
