"""The load generator on both transports of the server: it counts what the server counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("hdrh")

from sardonyx_server.load.arrivals import Arrivals  # after the skip
from sardonyx_server.load.counters import RunCounters
from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target
from sardonyx_server.load.sender import over_grpc
from tests.e2e.messages import encoded, infer_request
from tests.e2e.servers import INFER, Server

if TYPE_CHECKING:
    from sardonyx_server.load.loops import Load

_LONG_S = 60.0
_NS_PER_S = 1_000_000_000


def loaded(server: Server, message: bytes, load: Load, *, seconds: float = _LONG_S) -> RunCounters:
    """What a sender with three connections counts under a load."""
    start_ns = time.monotonic_ns()
    counters = RunCounters(start_ns + round(seconds * _NS_PER_S))
    sender = over_grpc(Target(address=server.app.address, method=INFER, messages=(message,)), connections=3)
    try:
        sender.connect()
        run = sender.open_loop if isinstance(load, OpenLoop) else sender.closed_loop
        run(load, counters, start_ns=start_ns, duration_s=seconds)  # type: ignore[arg-type]  # each gets its own
    finally:
        sender.close()
    return counters


@pytest.mark.parametrize("values", [1, 40_000], ids=["small", "beyond the windows"])
def test_every_request_of_a_closed_loop_is_answered(server: Server, values: int) -> None:
    """Also those that are larger than what a server takes at once."""
    message = encoded(infer_request("wide", x=np.ones((1, values), np.float32)))
    counters = loaded(server, message, ClosedLoop(concurrency=8, requests=100))
    assert (counters.sent, sum(counters.latencies.by_value().values()), counters.statuses) == (100, 100, {})
    server.assert_well()


def test_refusals_are_counted_by_their_status(server: Server) -> None:
    """Of an open loop, whose requests are all due."""
    message = encoded(infer_request("nobody", x=np.ones((1, 1), np.float32)))
    counters = loaded(server, message, OpenLoop(rate=1000.0, arrivals=Arrivals.CONSTANT), seconds=0.05)
    assert (counters.sent, counters.statuses) == (50, {"NOT_FOUND": 50})
    server.assert_well()
