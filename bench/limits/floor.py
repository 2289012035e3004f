"""The floor of a latency: a greedy queue in front of a model, simulated with measured run times. Pure; times nothing.

Greedy and work-conserving: a free runner takes everything that waits, up to its maximum batch, and never waits for
more. No policy for Poisson arrivals has a p99 that is lower by more than 2 % (docs/decisions.md). The simulated
server has no transport, no interpreter and no other work, so its latency is a lower bound for any real server.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from sardonyx_server.load.latencies import Latencies

__all__ = ["Times", "p99_s", "sojourns_s", "with_transport_s"]

_P99: Final = 99

Times = np.ndarray[Any, np.dtype[np.float64]]


def sojourns_s(arrivals_s: Sequence[float], seconds: Callable[[int], float], *, runners: int, max_rows: int) -> Times:
    """Sojourn time of each request in the simulated server.

    Args:
        arrivals_s: When each comes, ascending; one row each.
        seconds: Rows of a run -> its seconds.
        runners: Runs at once.
        max_rows: Largest batch size.
    """
    cost_s = [0.0, *(seconds(rows) for rows in range(1, max_rows + 1))]
    free_s = [0.0] * runners
    ended_s = np.empty(len(arrivals_s))
    arrived_s = np.asarray(arrivals_s, float)
    first = 0
    while first < len(arrived_s):
        start_s = max(heapq.heappop(free_s), float(arrived_s[first]))
        waiting = int(np.searchsorted(arrived_s[first : first + max_rows], start_s, side="right"))
        rows = max(1, waiting)
        end_s = start_s + cost_s[rows]
        ended_s[first : first + rows] = end_s
        heapq.heappush(free_s, end_s)
        first += rows
    return np.asarray(ended_s - arrived_s, float)


def with_transport_s(sojourns_s: Times, echo: Latencies, *, seed: int) -> Times:
    """Sojourn times plus the latency of a bare echo, drawn from those measured at the same rate."""
    counts = echo.by_value_ns()
    values_s = np.fromiter(counts, float) / 1e9
    weights = np.fromiter(counts.values(), float)
    drawn_s = np.random.default_rng(seed).choice(values_s, len(sojourns_s), p=weights / weights.sum())
    return np.asarray(sojourns_s + drawn_s)


def p99_s(times_s: Times) -> float:
    """99th percentile; 0 if there are no times."""
    return float(np.percentile(times_s, _P99)) if len(times_s) else 0.0
