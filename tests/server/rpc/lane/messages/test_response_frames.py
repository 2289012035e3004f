"""Whole answers as frames; no socket and no connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.errors import DeadlineExceeded, Overloaded, QueueBytesFull, QueueTooLong, ServerError
from sardonyx_server.rpc.lane.flow_control.outflow import UNLIMITED_WINDOW, Outflow, SendQueue
from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
from sardonyx_server.rpc.lane.messages.response_frames import (
    TrailersOnlyBlocks,
    append_response,
    header_frames,
    length_prefixed_parts,
    response_envelope,
    response_headers_block,
    short_response,
    trailers_block,
)
from sardonyx_server.rpc.status import to_status
from sardonyx_wire.protobuf_fields import EncodedMessage, MessageParts

_PIECES = st.lists(st.integers(0, 70_000), min_size=1, max_size=5).map(
    lambda sizes: MessageParts([bytes((number,)) * size for number, size in enumerate(sizes)])
)


@given(message=st.one_of(_PIECES, st.integers(0, 70_000).map(bytes)), frame_bytes=st.sampled_from([16_384, 40_000]))
def test_an_answer_that_may_be_sent_at_once_is_what_windows_let_through_piece_by_piece(
    message: EncodedMessage, frame_bytes: int
) -> None:
    """The quick way beside the slow one, which keeps account of windows: the same bytes, in the same frames."""
    quick: list[bytes | memoryview] = []
    append_response(message, 5, frame_bytes, quick)

    slow = Outflow(SendBudget(UNLIMITED_WINDOW), lambda: None)
    slow.window = 1 << 24
    slow.set_max_frame_bytes(frame_bytes)
    slow.out.append(header_frames(5, response_headers_block(b""), end=False))
    slow.send(SendQueue(5, 1 << 24, paced=False), *length_prefixed_parts(message, b""))
    slow.out.append(header_frames(5, trailers_block(None, first=False), end=True))
    assert list(map(bytes, quick)) == list(map(bytes, slow.out))
    data = b"".join(quick[2:-1:2])
    assert data == b"\0" + len(message).to_bytes(4) + bytes(message)


@given(message=st.binary(max_size=300) | st.integers(0, 40_000).map(bytes), stream_id=st.integers(1, (1 << 31) - 1))
def test_a_short_answer_is_what_its_frames_are(message: bytes, stream_id: int) -> None:
    """In one step beside step by step: the same bytes."""
    before, behind = response_envelope(stream_id, len(message))
    assert short_response(stream_id, message) == before + message + behind


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full", retry_after_s=0.25),
        Overloaded("full", retry_after_s=0.5),
        Overloaded("full"),
        Overloaded("full", reason="ANOTHER"),
        QueueTooLong("full"),
        QueueBytesFull("fuller"),
        DeadlineExceeded("late"),
    ],
    ids=repr,
)
def test_a_failure_that_is_remembered_says_what_it_said(error: ServerError) -> None:
    """Beside others that differ from it in one thing."""
    blocks = TrailersOnlyBlocks()
    for other in (Overloaded("full", retry_after_s=0.125), QueueTooLong("full", retry_after_s=0.25), error):
        blocks.of(other)
    assert blocks.of(error) == trailers_block(to_status(error), first=True)


def test_the_memory_of_failures_is_bounded() -> None:
    """Texts have numbers in them."""
    blocks = TrailersOnlyBlocks()
    for number in range(1000):
        blocks.of(Overloaded(f"{number} wait"))
    assert len(blocks._memo) <= 256
