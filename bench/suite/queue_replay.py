"""Replays the simulated queue with the server's own mean run times, to explain a p99. Pure.

    the floor's queue -> the same with the server's runs -> the server

The first step shows the effect of runs that take longer beside transport and generator, or that are split differently.
The second shows the server's own share: wake-ups, scheduling, sending, and slow runs that coincide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.limits.floor import p99_s, sojourns_s
from bench.limits.in_process import Costs
from bench.store import Load, Point
from sardonyx_server.load.arrivals import Arrivals, arrivals_s

__all__ = ["due_s", "replayed_p99_s"]

# With fewer requests a simulated percentile would be noisy; simulating more costs little.
_SIMULATED: Final = 20_000
_US: Final = 1e6


def due_s(load: Load, seed: int) -> list[float]:
    """Arrivals of an open loop, enough of them to simulate a percentile."""
    rate = load.rate_per_s or 0.0
    arrivals = Arrivals(load.arrivals or "poisson")
    return list(arrivals_s(arrivals, rate=rate, duration_s=_SIMULATED / rate, seed=seed))


def replayed_p99_s(point: Point, facts: Mapping[str, Any]) -> float | None:
    """p99 of a greedy queue with a server's number of runners, and with the mean time of its runs of each size.

    Args:
        point: Point of an open loop.
        facts: How the server set up the model (runners, threads, max_rows); empty if unknown.

    Returns:
        Seconds; None if the server has no statistics of its runs.
    """
    if not facts or not point.batch_run_us:
        return None
    run_s = sorted((int(rows), us / _US) for rows, us in point.batch_run_us.items())
    # Without runners, the transport's thread runs the model.
    own = Costs(runners=max(1, facts["runners"]), threads=facts["threads"], run_s=dict(run_s))
    times_s = sojourns_s(
        due_s(point.load, point.seed), own.seconds, runners=own.runners, max_rows=max(1, facts["max_rows"])
    )
    return p99_s(times_s)
