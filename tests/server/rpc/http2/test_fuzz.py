"""Lawful calls in any order, cut anywhere, are answered; with bytes changed, at least the next connection is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.rpc.http2 import wire
from tests.server.rpc.http2.peer import Peer
from tests.server.rpc.transports import until

if TYPE_CHECKING:
    import random

    from tests.server.rpc.transports import Transport

pytestmark = pytest.mark.usefixtures("no_bug_is_logged")

EXAMPLES: Final = 60
LAWFUL_EXAMPLES: Final = 20
# A cut is waited at, so that the server reads up to there by itself.
CUTS: Final = 5

STREAM_IDS: Final = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 2**31 - 1])
SIZES: Final = st.sampled_from([0, 1, 100, 65_535, 2**31 - 1, 2**31])
BLOCKS: Final = st.sampled_from(
    [
        wire.HEADER,
        wire.HEADER + wire.literal("x-a", "1", wire.ADDED),
        wire.HEADER + b"\xbe",
        wire.HEADER[:20],
        b"",
        wire.block(wire.request_fields(path="/test.Service/StreamInfer")),
        wire.block(wire.request_fields(("grpc-timeout", "1m"))),
        wire.block(wire.request_fields(("grpc-encoding", "gzip"))),
    ]
)
PAYLOADS: Final = st.one_of(
    st.sampled_from([wire.prefixed(b"message"), wire.prefixed(b"")[:3], wire.prefixed(b"x") * 2, b""]),
    st.binary(max_size=50),
)
FRAMES: Final = st.one_of(
    st.builds(wire.headers, STREAM_IDS, BLOCKS, pieces=st.integers(1, 3)),
    st.builds(wire.headers, STREAM_IDS, BLOCKS, flags=st.integers(0, 255)),
    st.builds(wire.data, STREAM_IDS, PAYLOADS, end=st.booleans(), padding=st.sampled_from([None, None, 0, 9])),
    st.builds(wire.settings, st.dictionaries(st.integers(0, 7), SIZES, max_size=3)),
    st.builds(wire.window_update, STREAM_IDS, SIZES),
    st.builds(wire.rst_stream, STREAM_IDS),
    st.builds(wire.ping),
    st.builds(wire.frame, st.integers(0, 12), st.integers(0, 255), STREAM_IDS, st.binary(max_size=20)),
)


@st.composite
def said(draw: st.DrawFn) -> list[bytes]:
    """What a connection says, in the pieces in which it is sent."""
    whole = bytearray(wire.PREFACE + wire.settings() + b"".join(draw(st.lists(FRAMES, max_size=12))))
    for at in draw(st.lists(st.integers(0, len(whole) - 1), max_size=draw(st.sampled_from([0, 0, 1, 3])))):
        whole[at] = draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    return [bytes(whole[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pieces=said())
def test_whatever_a_connection_says_the_next_is_served(echo: Transport, bystander: Peer, pieces: list[bytes]) -> None:
    """So is one that was there before; and no call is left open."""
    with Peer(echo.address, b"") as peer:
        for piece in pieces:
            peer.send(piece)
            assert bystander.ask(b"there") == b"there"
    with Peer(echo.address) as fresh:
        assert fresh.ask(b"new") == b"new"
    until(lambda: not echo.serving.open_calls)
    assert not echo.lost


def frames_of(stream_id: int, message: bytes, sizes: list[int]) -> list[bytes]:
    """A call in frames of these sizes, again and again."""
    rest, data, turn = wire.prefixed(message), [], 0
    while rest:
        size = sizes[turn % len(sizes)]
        data.append(wire.data(stream_id, rest[:size], end=size >= len(rest)))
        rest = rest[size:]
        turn += 1
    return [wire.headers(stream_id, wire.HEADER), *data]


def shuffled(calls: list[list[bytes]], dice: random.Random) -> bytes:
    """Frames of many calls, each call's in order; the calls begin in theirs, as HTTP/2 wants."""
    out, begun = [], 1
    while calls:
        at = dice.randrange(min(begun, len(calls)))
        if at == begun - 1:
            begun += 1
        out.append(calls[at].pop(0))
        if not calls[at]:
            del calls[at]
            begun -= 1
    return b"".join(out)


@settings(max_examples=LAWFUL_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.sampled_from([0, 1, 300, 16_379, 70_000, 200_000]), min_size=1, max_size=4),
    sizes=st.lists(st.sampled_from([0, 7, 1000, 16_384]), min_size=1, max_size=4).map(lambda drawn: [*drawn, 16_384]),
    dice=st.randoms(use_true_random=False),
)
def test_lawful_calls_in_any_frames_are_answered(
    echo: Transport, bystander: Peer, lengths: list[int], sizes: list[int], dice: random.Random
) -> None:
    """Each with its own message; their frames take turns as chance has it."""
    messages = {1 + 2 * at: bytes((at + 1,)) * length for at, length in enumerate(lengths)}
    with Peer(echo.address) as peer:
        # From then on there is room for all of them.
        assert peer.take()
        bystander.ask()
        said = shuffled([frames_of(one, message, sizes) for one, message in messages.items()], dice)
        cuts = sorted(dice.randrange(len(said) + 1) for _ in range(CUTS))
        for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
            peer.send(said[begin:end])
            bystander.ask()
        for one, message in messages.items():
            answer = peer.answer(one)
            assert answer.well, answer
            assert answer.messages == [message]
