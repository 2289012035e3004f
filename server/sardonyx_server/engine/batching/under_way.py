"""Batches that were taken and are not over, and which of them have all cores: see loading/alone.py. Not thread-safe."""

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
    """What runs of one model.

    Attributes:
        is_wide: Whether a batch has all cores, so that nothing else is to begin.
        batches: That run.
    """

    __slots__ = ("_ended_s", "_one_by_one", "batches", "is_wide")

    def __init__(self) -> None:
        self.is_wide = False
        self.batches = 0
        self._one_by_one = 0
        self._ended_s = -math.inf

    def begun(self, batch: Batch, waiting_rows: int) -> None:
        """A batch was taken, and so many rows wait still. Says in it whether it has all cores."""
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
