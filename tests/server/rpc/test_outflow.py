"""What goes to one peer, and what its windows hold back; no socket and no frames of a peer."""

from __future__ import annotations

from sardonyx_server.rpc.lane.outflow import Flow, HeldBytes, Outflow


def test_empty_data_passes_a_window_below_zero_and_leaves_it() -> None:
    """A peer may take back what it gave (RFC 9113, section 6.9.2); an empty piece gives it nothing."""
    outflow = Outflow(HeldBytes())
    flow = Flow(1, -100, paced=True)
    before = outflow.window, outflow.ahead
    outflow.send(flow, memoryview(b""), memoryview(b"waits"))
    assert (flow.window, outflow.window, outflow.ahead) == (-100, *before)
    assert outflow.held_bytes == len(b"waits")
    assert list(flow.parts) == [b"waits"]
