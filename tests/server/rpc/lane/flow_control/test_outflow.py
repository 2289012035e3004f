"""What goes to one peer, and what its windows hold back; no socket and no frames of a peer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.rpc.lane.flow_control.outflow import UNLIMITED_WINDOW, Outflow, SendQueue
from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
from sardonyx_wire.http2 import frames
from sardonyx_wire.http2.frames import FrameType


def test_empty_data_passes_a_window_below_zero_and_leaves_it() -> None:
    """A peer may take back what it gave (RFC 9113, section 6.9.2); an empty piece gives it nothing."""
    outflow = Outflow(SendBudget(UNLIMITED_WINDOW), lambda: None)
    queue = SendQueue(1, -100, paced=True)
    before = outflow.window, outflow.write_credit
    outflow.send(queue, memoryview(b""), memoryview(b"waits"))
    assert (queue.window, outflow.window, outflow.write_credit) == (-100, *before)
    assert outflow.blocked_bytes == len(b"waits")
    assert list(queue.parts) == [b"waits"]


@given(size=st.integers(0, 100_000), frame_bytes=st.sampled_from([16_384, 20_000, 65_536]))
def test_data_goes_in_full_frames_and_a_last_one(size: int, frame_bytes: int) -> None:
    """Each with its head; the last one may be full, and is empty where there is nothing to say."""
    outflow = Outflow(SendBudget(UNLIMITED_WINDOW), lambda: None)
    outflow.window = 1 << 20
    outflow.set_max_frame_bytes(frame_bytes)
    data = bytes(at % 251 for at in range(size))
    outflow.send(SendQueue(7, 1 << 20, paced=False), memoryview(data))
    heads, bodies = outflow.out[::2], outflow.out[1::2]
    assert b"".join(bodies) == data
    assert [bytes(head) for head in heads] == [frames.frame_header(FrameType.DATA, 0, 7, len(body)) for body in bodies]
    assert [len(body) for body in bodies[:-1]] == [frame_bytes] * (len(bodies) - 1)
    assert len(bodies) == max(1, -(-size // frame_bytes))
    assert outflow.window == (1 << 20) - size
