"""Estimate of the time of one run, so that no request is run whose caller will have timed out by its end."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["RunTimes"]

# The estimate is the second longest of the last eight runs: a single delayed run says nothing about the next one, two
# of them do. With the median of five, goodput at five times the capacity was 0.66 to 0.71 of its peak; with this it is
# 0.80 to 0.86. Where callers and lane compete for the cores, one run in five takes 1.5 times as long (magika on two
# cores, 2026-11-26).
_WINDOW: Final = 8
# Covers the way of the answer to the caller. Margins of 1.75 and 2 gave no more goodput.
_MARGIN: Final = 1.5


class RunTimes:
    """Times of the latest runs of one model. Not thread-safe.

    Under overload the requests at the head of the queue are always about to expire. If they are run to the end, their
    callers have gone, and by then the next ones are as close to their deadlines: magika at five times its capacity
    answered a fifth of what it can (2026-11-26).
    """

    __slots__ = ("_estimate_s", "_last_s", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._estimate_s = 0.0
        self._last_s = 0.0

    def record(self, seconds: float, now_s: float) -> None:
        """Record a run that ended now: the time from taking its batch to its answers."""
        self._seconds.append(seconds)
        self._estimate_s = sorted(self._seconds)[-2:][0] * _MARGIN
        self._last_s = now_s

    def estimate_s(self, now_s: float) -> float:
        """Estimated time of a run that starts now; 0 while unknown.

        The estimate expires when the model has not run for as long as the estimate itself. Otherwise an outdated high
        estimate would drop every request and never be corrected.
        """
        return 0.0 if now_s - self._last_s > self._estimate_s else self._estimate_s
