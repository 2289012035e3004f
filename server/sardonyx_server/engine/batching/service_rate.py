"""Service rate of one model under backlog: the basis of the queue-delay estimate that admission control uses.

A request that could not be answered before its deadline is refused on arrival instead of timing out in the queue.
run_times.py estimates the time of one run; this module estimates how soon the jobs ahead have left the queue.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["ServiceRate"]

# Size of the sliding window in batches, and the fewest that give an estimate: with fewer, one delayed batch would
# dominate it.
_WINDOW: Final = 17
_MIN_BATCHES: Final = 5


class ServiceRate:
    """Rate at which one model's queue is drained while none of its runners is idle. Not thread-safe.

    Attributes:
        row_s: Seconds between two rows leaving the queue, over all runners together; 0 while unknown, because there
            has been no backlog yet.
    """

    __slots__ = ("_rows", "_taken", "row_s")

    def __init__(self) -> None:
        # (time of dequeue, rows) of each batch. _rows leaves out the last batch, which has only just begun.
        self._taken: deque[tuple[float, int]] = deque()
        self._rows = 0
        self.row_s = 0.0

    def batch_taken(self, rows: int, now_s: float) -> None:
        """Record that a runner took a batch without having waited for it."""
        taken = self._taken
        if taken:
            self._rows += taken[-1][1]
        taken.append((now_s, rows))
        if len(taken) > _WINDOW:
            self._rows -= taken.popleft()[1]
        if len(taken) >= _MIN_BATCHES:
            self.row_s = (now_s - taken[0][0]) / self._rows

    def runner_idle(self) -> None:
        """End the backlog: a runner found no work. The estimate stays, and will hold for the next backlog as well."""
        self._taken.clear()
        self._rows = 0

    def batch_finished(self, rows: int, seconds: float) -> None:
        """Lower the estimate where a single runner was faster than that: it dates from a slower period."""
        if seconds < self.row_s * rows:
            self.row_s = seconds / rows
