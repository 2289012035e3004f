"""Header blocks of requests: what is plain is written, everything else is the channel's."""

from __future__ import annotations

from typing import Any

import pytest
from hpack import Decoder

from sardonyx_client._http2.request_headers import RequestHeaderEncoder, encode_timeout


def fields(block: bytes | None) -> list[tuple[str, str]]:
    """As a server reads it."""
    assert block is not None
    return [(str(name), str(value)) for name, value in Decoder().decode(block)]


def test_a_block_says_what_grpc_wants() -> None:
    """Method, path and authority first; the deadline; metadata, binary ones as base64 without padding."""
    blocks = RequestHeaderEncoder("models:8001", "/s/M")
    metadata = (("authorization", "Bearer t"), ("x", ""), ("x", b"two words"), ("raw-bin", b"\x00\xff"))
    assert fields(blocks.encode(1.5, metadata)) == [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/s/M"),
        (":authority", "models:8001"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-python-sardonyx"),
        ("grpc-accept-encoding", "identity,deflate,gzip"),
        ("authorization", "Bearer t"),
        ("x", ""),
        ("x", "two words"),
        ("raw-bin", "AP8"),
        ("grpc-timeout", "1500000u"),
    ]
    assert fields(blocks.encode(None, (), attempts_before=2))[8:] == [("grpc-previous-rpc-attempts", "2")]


def test_a_request_beyond_the_clients_limit_is_left_to_the_channel() -> None:
    """None means no limit."""
    assert RequestHeaderEncoder("h:1", "/s/M").fits(bytes(10))
    assert RequestHeaderEncoder("h:1", "/s/M", 10).fits(bytes(10))
    assert not RequestHeaderEncoder("h:1", "/s/M", 9).fits(bytes(10))


def test_blocks_are_remembered_but_not_without_bound() -> None:
    """A token that is new in each call must not fill the memory."""
    blocks = RequestHeaderEncoder("h:1", "/s/M")
    seen = {blocks.encode(1.0, (("authorization", f"Bearer {number}"),)) for number in range(200)}
    assert len(seen) == 200
    assert len(blocks._memo) <= 64
    assert blocks.encode(2.0, ()) != blocks.encode(3.0, ()) == blocks.encode(3.0, ())


@pytest.mark.parametrize(
    "metadata",
    [
        (("Upper", "x"),),
        (("", "x"),),
        (("spa ce", "x"),),
        (("x", "ü"),),
        (("x", " leading"),),
        (("x", "line\n"),),
        (("x-bin", "text"),),
        (("grpc-timeout", "1S"),),
        (("te", "x"),),
        (("user-agent", "x"),),
        (("x", "y" * 9000),),
    ],
)
def test_what_is_not_plain_is_left_to_the_channel(metadata: Any) -> None:
    """Which knows what to say of it."""
    assert RequestHeaderEncoder("h:1", "/s/M").encode(1.0, metadata) is None


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (1e-9, b"1u"),
        (0.05, b"50000u"),
        (0.0123401, b"12400u"),
        (59.9991, b"60000000u"),
        (60.0, b"60000000u"),
        (99.9999991, b"100000m"),
        (1e5, b"100000S"),
        (99_900_000, b"99900000S"),
        (99_999_999, None),
        (1e9, None),
    ],
)
def test_timeouts_are_rounded_up_to_three_digits_of_eight_at_most(seconds: float, value: bytes | None) -> None:
    """What is longer than three years is no deadline."""
    assert encode_timeout(seconds) == value
