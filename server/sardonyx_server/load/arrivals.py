"""Arrival times of an open loop: the schedule of requests in seconds from the start, fixed before the first is sent.

In an open loop, arrivals do not depend on answers, as with independent users. Each worker takes every n-th arrival of
one schedule, so that all workers together send exactly what a single one would.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import count, islice
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BURST_S", "Arrivals", "arrivals_s"]

BURST_S: Final = 0.1
"""Interval between bursts: long enough for a queue to build up and drain again."""

_BLOCK: Final = 1024


class Arrivals(StrEnum):
    """Distribution of the arrivals at a given mean rate."""

    POISSON = "poisson"
    """Independent callers: exponentially distributed gaps."""
    CONSTANT = "constant"
    """Equal gaps."""
    BURST = "burst"
    """All requests of a tenth of a second at once."""


def arrivals_s(
    arrivals: Arrivals, *, rate: float, duration_s: float, seed: int, worker_index: int = 0, worker_count: int = 1
) -> Iterator[float]:
    """One worker's part of the schedule.

    Args:
        arrivals: Their distribution.
        rate: Requests per second of all workers together; > 0.
        duration_s: No arrival at or after this time.
        seed: Of Poisson arrivals; the same seed gives the same schedule for any number of workers.
        worker_index: Which part, from 0.
        worker_count: Number of parts.

    Yields:
        Seconds from the start, ascending.
    """
    for at_s in islice(_endless(arrivals, rate, seed), worker_index, None, worker_count):
        if at_s >= duration_s:
            return
        yield at_s


def _endless(arrivals: Arrivals, rate: float, seed: int) -> Iterator[float]:
    match arrivals:
        case Arrivals.CONSTANT:
            return (index / rate for index in count())
        case Arrivals.BURST:
            # At rates below one request per burst, bursts of one request come less often.
            size = max(1, round(rate * BURST_S))
            return (index // size * size / rate for index in count())
        case Arrivals.POISSON:
            return _poisson(rate, seed)


def _poisson(rate: float, seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    last_s = 0.0
    while True:
        for at_s in (last_s + np.cumsum(rng.exponential(1 / rate, _BLOCK))).tolist():
            yield at_s
            last_s = at_s
