"""Lag of the lane's event loop: how long its thread did other work, and so how late it processed events meanwhile.

The thread does other work while it runs inline models and while it hands over the answers of runners. Each burst of
such work is one observation, not each request.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from sardonyx_server.engine.statistics import Histogram
from sardonyx_server.engine.telemetry.counters import SECONDS_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventLoopLag"]


class EventLoopLag:
    """Measures the work that keeps a thread from its events. Only that thread measures; any thread may read.

    Args:
        clock: ``time.monotonic``, or a fake of it. Seconds.
    """

    __slots__ = ("_clock", "_counts", "_total_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self._total_s = 0.0

    def doing(self, work: Callable[[], None]) -> None:
        """Do some work and measure its duration. An exception of the work is passed on, and nothing is counted."""
        began_s = self._clock()
        work()
        took_s = self._clock() - began_s
        self._counts[bisect_left(SECONDS_BOUNDS, took_s)] += 1
        self._total_s += took_s

    def snapshot(self) -> Histogram:
        """Histogram of the durations so far, in seconds. Any thread."""
        return Histogram(bounds=SECONDS_BOUNDS, counts=tuple(self._counts), total=self._total_s)
