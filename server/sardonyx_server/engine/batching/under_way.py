"""Batches that were taken and are not over, and who runs what comes next: the lane, runners, or one with all cores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.batching.batch import Batch

__all__ = ["ONE_BY_ONE", "UnderWay"]

ONE_BY_ONE: Final = 8
"""Requests that came one by one before the next has all cores. With all cores whenever nothing else ran, magika at a
third of its load had a p99 of 18 ms in place of 12: what came meanwhile waited, and threads that wait for each other
suffer where lane and callers want a core, too (2026-11-26)."""

# An answer may be out for so long when its batch is over: the next request of that caller is not one that has waited.
_ANSWERING_S: Final = 0.0003


class UnderWay:
    """What runs of one model, and who runs what comes next: the lane what is little, runners what is much.

    Not thread-safe.

    To hand a batch to a runner and its answers back takes some 0.2 ms: two threads wake each other and pass the
    interpreter to and fro. That is worth it where the lane takes in the next batch meanwhile, and pure loss where there
    is little to take in. An MLP at 8,100 requests a second had a p99 of 1.7 ms in place of 5.3, and at 64 callers the
    same throughput (two cores, 2026-11-26).

    Once runners have the work they keep it until half of that waits when none of them is busy, so that it does not
    change hands with each batch.

    Args:
        lane_rows: Rows that are little; 0 = all is for runners.
        widens: Whether requests that come one by one have all cores.

    Attributes:
        is_wide: Whether a batch has all cores, so that nothing else is to begin.
        batches: That run.
    """

    __slots__ = (
        "_ended_s",
        "_handed_over",
        "_lane_has_it",
        "_lane_rows",
        "_one_by_one",
        "_widens",
        "batches",
        "is_wide",
    )

    def __init__(self, *, lane_rows: int, widens: bool) -> None:
        self.is_wide = False
        self.batches = 0
        self._handed_over = False
        self._lane_rows = lane_rows
        self._lane_has_it = True
        self._widens = widens
        self._one_by_one = 0
        self._ended_s = -math.inf

    def leaves_to_lane(self, waiting_rows: int) -> bool:
        """Whether what waits is for the lane."""
        most = self._lane_rows if self._lane_has_it else self._lane_rows // 2
        return 0 < waiting_rows <= most and not self.batches and not self._handed_over

    def hand_over(self) -> None:
        """What waits is for runners, however little it is. Where one is at work, that is decided when it has done."""
        self._handed_over = not self.batches

    def begun(self, batch: Batch, waiting_rows: int, *, on_lane: bool) -> None:
        """A batch was taken, and so many rows wait still. Says in it whether it has all cores."""
        self._lane_has_it = on_lane
        self._handed_over = False
        if self._widens:
            jobs = batch.jobs
            is_alone = not self.batches and not waiting_rows and len(jobs) == 1
            is_next = is_alone and jobs[0].arrived_s >= self._ended_s - _ANSWERING_S
            self._one_by_one = self._one_by_one + 1 if is_next else 0
            batch.wide = self.is_wide = self._one_by_one > ONE_BY_ONE
        self.batches += 1

    def over(self, now_s: float) -> bool:
        """A batch is over. Whether it had all cores, so that others may begin now."""
        self.batches -= 1
        self._ended_s = now_s
        was_wide, self.is_wide = self.is_wide, False
        return was_wide
