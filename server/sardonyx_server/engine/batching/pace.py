"""How fast the backlog of one model is worked off, so that who comes too late is told at once and not at its deadline.

run_times.py says what one batch takes; this says how soon all that waits has been taken.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Pace"]

# Batches that are looked at, and the fewest that say anything. Of fewer one that was held up would decide.
_REMEMBERED: Final = 17
_LEAST: Final = 5


class Pace:
    """Of one model, as it is while none of its runners is idle. Not thread-safe.

    Attributes:
        row_s: Seconds from one row to the next as they are given out, by all runners together; 0 where nobody knows,
            since there has been no backlog yet.
    """

    __slots__ = ("_rows", "_taken", "row_s")

    def __init__(self) -> None:
        # When batches were given out, and their rows; these without the last one's, which is only begun.
        self._taken: deque[tuple[float, int]] = deque()
        self._rows = 0
        self.row_s = 0.0

    def taken(self, rows: int, now_s: float) -> None:
        """A batch was given out to a runner that has not waited for it."""
        taken = self._taken
        if taken:
            self._rows += taken[-1][1]
        taken.append((now_s, rows))
        if len(taken) > _REMEMBERED:
            self._rows -= taken.popleft()[1]
        if len(taken) >= _LEAST:
            self.row_s = (now_s - taken[0][0]) / self._rows

    def idle(self) -> None:
        """A runner finds nothing to do. What was found holds on: the next backlog will be worked off alike."""
        self._taken.clear()
        self._rows = 0

    def took(self, rows: int, seconds: float) -> None:
        """A batch is over. One runner alone was as fast as that: what was found when all was slow holds no longer."""
        if seconds < self.row_s * rows:
            self.row_s = seconds / rows
