"""How long the lane's thread was away from its events, which is how late it got to those that came meanwhile.

It is away while inline models run on it and while it hands over answers of runners. Counted by burst, not by request.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sardonyx_server.engine.counters import SECONDS_BOUNDS
from sardonyx_server.engine.statistics import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Away", "LaneLag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLag:
    """What :class:`Away` holds at one moment.

    Attributes:
        longest_s: The longest time away since the start.
        away_s: Each time away.
    """

    longest_s: float
    away_s: Histogram


class Away:
    """Times the work that keeps a thread from its events. Used by that thread only; others read at any time.

    Args:
        clock: ``time.monotonic``.
    """

    __slots__ = ("_clock", "_counts", "_longest_s", "_total_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = [0] * (len(SECONDS_BOUNDS) + 1)
        self._longest_s = self._total_s = 0.0

    def doing(self, work: Callable[[], None]) -> None:
        """Do some work; what it raises goes on to the caller."""
        began_s = self._clock()
        work()
        took_s = self._clock() - began_s
        self._counts[bisect_left(SECONDS_BOUNDS, took_s)] += 1
        self._total_s += took_s
        self._longest_s = max(self._longest_s, took_s)

    def snapshot(self) -> LaneLag:
        """As of now. Any thread."""
        return LaneLag(
            longest_s=self._longest_s,
            away_s=Histogram(bounds=SECONDS_BOUNDS, counts=tuple(self._counts), total=self._total_s),
        )
