"""What ends at a point in time unless it has ended before: a call whose caller's time is up, a socket that lingers."""

from __future__ import annotations

import heapq
import math
import weakref
from typing import Final, Protocol

__all__ = ["Deadlines", "HasDeadline"]

# What ended before its time is forgotten when there is more of it than of the rest, and this much.
_FORGOTTEN: Final = 256


class HasDeadline(Protocol):
    """What has a deadline."""

    @property
    def deadline_s(self) -> float:
        """On ``time.monotonic``; infinity for none."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        ...

    def expire(self) -> None:
        """Its time is up."""


class Deadlines:
    """What has a deadline, the next one first; keeps none of it alive. Not thread-safe."""

    __slots__ = ("_heap", "_keep", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, weakref.ref[HasDeadline]]] = []
        self._serial = 0
        self._keep = _FORGOTTEN

    def add(self, timed: HasDeadline) -> None:
        """Have it expire at its deadline."""
        if timed.deadline_s == math.inf:
            return
        if len(self._heap) >= self._keep:
            self._heap = [entry for entry in self._heap if (known := entry[2]()) is not None and not known.ended]
            heapq.heapify(self._heap)
            self._keep = max(_FORGOTTEN, 2 * len(self._heap))
        self._serial += 1
        heapq.heappush(self._heap, (timed.deadline_s, self._serial, weakref.ref(timed)))

    def expire(self, now_s: float) -> None:
        """End that whose time is up."""
        while self._heap and self._heap[0][0] <= now_s:
            timed = heapq.heappop(self._heap)[2]()
            if timed is not None:
                timed.expire()

    def patience_s(self, now_s: float) -> float:
        """Seconds until the next one; infinity where there is none."""
        return max(0.0, self._heap[0][0] - now_s) if self._heap else math.inf
