"""Deadline timers: for calls, and for sockets whose peer has to send its preface or to close in time."""

from __future__ import annotations

import heapq
import math
import weakref
from typing import Final, Protocol

__all__ = ["Deadlines", "HasDeadline"]

# Minimum heap size at which entries that ended early are removed. The next time is at twice the entries that remained.
_FORGOTTEN: Final = 256


class HasDeadline(Protocol):
    """Something that expires at its deadline."""

    @property
    def deadline_s(self) -> float:
        """Deadline on ``time.monotonic``; infinity = none."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it has ended already."""
        ...

    def expire(self) -> None:
        """The deadline has passed."""


class Deadlines:
    """A heap of deadlines, the next one first. Holds only weak references. Not thread-safe."""

    __slots__ = ("_heap", "_keep", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, weakref.ref[HasDeadline]]] = []
        self._serial = 0
        self._keep = _FORGOTTEN

    def add(self, timed: HasDeadline) -> None:
        """Let an object expire at its deadline."""
        if timed.deadline_s == math.inf:
            return
        if len(self._heap) >= self._keep:
            self._heap = [entry for entry in self._heap if (known := entry[2]()) is not None and not known.ended]
            heapq.heapify(self._heap)
            self._keep = max(_FORGOTTEN, 2 * len(self._heap))
        self._serial += 1
        heapq.heappush(self._heap, (timed.deadline_s, self._serial, weakref.ref(timed)))

    def expire(self, now_s: float) -> None:
        """Expire all objects whose deadline has passed."""
        while self._heap and self._heap[0][0] <= now_s:
            timed = heapq.heappop(self._heap)[2]()
            if timed is not None:
                timed.expire()

    def patience_s(self, now_s: float) -> float:
        """Seconds until the next deadline; infinity = none."""
        return max(0.0, self._heap[0][0] - now_s) if self._heap else math.inf
