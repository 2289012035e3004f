"""The simulated queue with the times that the server's own runs took: how much of a p99 they are. Pure.

    floor's queue -> the same with the server's runs -> the server

What the first step adds is that runs take longer beside transport and generator, or are split otherwise. What the
second adds is the server's own: waking, taking turns, sending; and that slow runs come together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.limits.floor import p99_s, sojourns_s
from bench.limits.in_process import Costs
from bench.store import Load, Point
from sardonyx_server.load.arrivals import Arrivals, arrivals_s

__all__ = ["due_s", "own_runs_p99_s"]

# A simulated percentile of fewer requests would be noise of its own, and more take no time.
_SIMULATED: Final = 20_000
_US: Final = 1e6


def due_s(load: Load, seed: int) -> list[float]:
    """Arrivals of an open loop, enough of them to simulate a percentile."""
    rate = load.rate_per_s or 0.0
    arrivals = Arrivals(load.arrivals or "poisson")
    return list(arrivals_s(arrivals, rate=rate, duration_s=_SIMULATED / rate, seed=seed))


def own_runs_p99_s(point: Point, facts: Mapping[str, Any]) -> float | None:
    """p99 of a greedy queue with the runners of a server, each run as long as its runs of that size were on average.

    Args:
        point: What came of an open loop.
        facts: How the server has set up the model (runners, threads, max_rows); empty where it does not tell.

    Returns:
        Seconds; None where the server does not tell of its runs.
    """
    if not facts or not point.batch_run_us:
        return None
    run_s = sorted((int(rows), us / _US) for rows, us in point.batch_run_us.items())
    # No runner is the lane's thread.
    own = Costs(runners=max(1, facts["runners"]), threads=facts["threads"], run_s=dict(run_s))
    times_s = sojourns_s(
        due_s(point.load, point.seed), own.seconds, runners=own.runners, max_rows=max(1, facts["max_rows"])
    )
    return p99_s(times_s)
