"""How long the lane's thread was away from its events, which is how late it got to those that came meanwhile.

It is away while inline models run on it and while it hands over answers of runners. Counted by burst, not by request.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from sardonyx_server.engine.statistics import Histogram
from sardonyx_server.engine.telemetry.counters import SECONDS_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Lag"]


class Lag:
    """Times the work that keeps a thread from its events. Used by that thread only; others read at any time.

    Args:
        clock: ``time.monotonic``.
    """

    __slots__ = ("_clock", "_counts", "_total_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self._total_s = 0.0

    def doing(self, work: Callable[[], None]) -> None:
        """Do some work; what it raises goes on to the caller."""
        began_s = self._clock()
        work()
        took_s = self._clock() - began_s
        self._counts[bisect_left(SECONDS_BOUNDS, took_s)] += 1
        self._total_s += took_s

    def snapshot(self) -> Histogram:
        """Each time away, in seconds, as of now. Any thread."""
        return Histogram(bounds=SECONDS_BOUNDS, counts=tuple(self._counts), total=self._total_s)
