"""What goes to one peer, and what its windows hold back; no socket and no frames of a peer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.rpc.lane.windows.held import HeldBytes
from sardonyx_server.rpc.lane.windows.outflow import NO_WINDOW, Flow, Outflow
from sardonyx_wire.http2 import frames
from sardonyx_wire.http2.frames import FrameType


def test_empty_data_passes_a_window_below_zero_and_leaves_it() -> None:
    """A peer may take back what it gave (RFC 9113, section 6.9.2); an empty piece gives it nothing."""
    outflow = Outflow(HeldBytes(NO_WINDOW), lambda: None)
    flow = Flow(1, -100, paced=True)
    before = outflow.window, outflow.ahead
    outflow.send(flow, memoryview(b""), memoryview(b"waits"))
    assert (flow.window, outflow.window, outflow.ahead) == (-100, *before)
    assert outflow.held_bytes == len(b"waits")
    assert list(flow.parts) == [b"waits"]


@given(size=st.integers(0, 100_000), frame_bytes=st.sampled_from([16_384, 20_000, 65_536]))
def test_data_goes_in_full_frames_and_a_last_one(size: int, frame_bytes: int) -> None:
    """Each with its head; the last one may be full, and is empty where there is nothing to say."""
    outflow = Outflow(HeldBytes(NO_WINDOW), lambda: None)
    outflow.window = 1 << 20
    outflow.set_frame_bytes(frame_bytes)
    data = bytes(at % 251 for at in range(size))
    outflow.send(Flow(7, 1 << 20, paced=False), memoryview(data))
    heads, bodies = outflow.out[::2], outflow.out[1::2]
    assert b"".join(bodies) == data
    assert [bytes(head) for head in heads] == [frames.frame_header(FrameType.DATA, 0, 7, len(body)) for body in bodies]
    assert [len(body) for body in bodies[:-1]] == [frame_bytes] * (len(bodies) - 1)
    assert len(bodies) == max(1, -(-size // frame_bytes))
    assert outflow.window == (1 << 20) - size
