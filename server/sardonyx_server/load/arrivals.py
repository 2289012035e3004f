"""When requests are meant to be sent: seconds from the start, decided before the first one goes out. Sends nothing.

An open loop: arrivals do not wait for answers, as users do not. Each process of a fleet takes every n-th arrival of one
schedule, so that the processes together send exactly what one would.
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
"""Time from one burst to the next: long enough that a queue builds up and drains within."""

_DRAWN: Final = 1024


class Arrivals(StrEnum):
    """How arrivals are spread over time, at one mean rate."""

    POISSON = "poisson"
    """Independent callers: gaps are exponential."""
    CONSTANT = "constant"
    """Equal gaps."""
    BURST = "burst"
    """All of a tenth of a second at once."""


def arrivals_s(
    arrivals: Arrivals, *, rate: float, duration_s: float, seed: int, share: int = 0, shares: int = 1
) -> Iterator[float]:
    """One process's part of a schedule.

    Args:
        arrivals: How they are spread.
        rate: Of all processes together, a second; > 0.
        duration_s: No arrival at or after this.
        seed: Of Poisson arrivals; the same seed gives the same schedule, whatever the number of shares.
        share: Which part, from 0.
        shares: Into how many parts the schedule is divided.

    Yields:
        Seconds from the start, ascending.
    """
    for at_s in islice(_endless(arrivals, rate, seed), share, None, shares):
        if at_s >= duration_s:
            return
        yield at_s


def _endless(arrivals: Arrivals, rate: float, seed: int) -> Iterator[float]:
    match arrivals:
        case Arrivals.CONSTANT:
            return (index / rate for index in count())
        case Arrivals.BURST:
            # Where fewer than one request falls into a burst, bursts of one come less often.
            size = max(1, round(rate * BURST_S))
            return (index // size * size / rate for index in count())
        case Arrivals.POISSON:
            return _poisson(rate, seed)


def _poisson(rate: float, seed: int) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    last_s = 0.0
    while True:
        for at_s in (last_s + np.cumsum(rng.exponential(1 / rate, _DRAWN))).tolist():
            yield at_s
            last_s = at_s
