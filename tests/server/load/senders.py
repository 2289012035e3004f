"""A sender in the test's own process, and what it counts."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.counters import RunCounters
from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target
from sardonyx_server.load.sender import Sender, over_grpc
from tests.server.load.fakes import METHOD

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONG_S", "answered", "at_once", "closed", "sending"]

LONG_S = 60.0
"""More than any test takes."""
_NS_PER_S = 1_000_000_000


@contextmanager
def sending(
    address: str,
    *messages: bytes,
    connections: int = 1,
    timeout_s: float = LONG_S,
    answer_bytes: int | None = None,
    interrupt: int | None = None,
) -> Iterator[Sender]:
    """A connected sender of one message, or of those given."""
    target = Target(
        address=address,
        method=METHOD,
        messages=messages or (b"ask",),
        answer_bytes=answer_bytes,
        timeout_s=timeout_s,
    )
    sender = over_grpc(target, connections=connections, interrupt=interrupt)
    try:
        sender.connect()
        yield sender
    finally:
        sender.close()


def closed(sender: Sender, *, callers: int, requests: int) -> RunCounters:
    """A closed loop of so many requests."""
    now_ns = time.monotonic_ns()
    counters = RunCounters(now_ns + round(LONG_S * _NS_PER_S))
    sender.closed_loop(ClosedLoop(concurrency=callers, requests=requests), counters, start_ns=now_ns, duration_s=LONG_S)
    return counters


def at_once(sender: Sender, *, requests: int, overdue_s: float = 0.0) -> RunCounters:
    """An open loop of requests that are all due at the same time, which may be past."""
    start_ns = time.monotonic_ns() - round(overdue_s * _NS_PER_S)
    counters = RunCounters(start_ns + round(LONG_S * _NS_PER_S))
    # A tenth of a second of such a load.
    load = OpenLoop(rate=requests * 10.0, arrivals=Arrivals.BURST)
    sender.open_loop(load, counters, start_ns=start_ns, duration_s=0.1)
    return counters


def answered(counters: RunCounters) -> int:
    """How many requests were."""
    return sum(counters.latencies.by_value().values())
