"""Batches in flight of one model, and which thread runs the next one: the lane, a runner, or a runner on all cores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.batching.batch import Batch

__all__ = ["MIN_SEQUENTIAL_REQUESTS", "InFlightBatches"]

MIN_SEQUENTIAL_REQUESTS: Final = 8
"""Requests that must arrive one at a time before the next one runs on all cores. When any request did so while nothing
else ran, magika at a third of its capacity had a p99 of 18 ms instead of 12: requests that arrived meanwhile waited,
and threads that synchronise with each other suffer where lane and callers need a core as well (2026-11-26)."""

# Time an answer may take to reach its caller before the batch counts as finished. A request that arrived within it is
# the same caller's next one, and did not wait for the batch.
_ANSWERING_S: Final = 0.0003


class InFlightBatches:
    """Tracks the running batches of one model and assigns the next one: small ones to the lane, large ones to runners.

    Not thread-safe.

    Handing a batch to a runner and its answers back takes about 0.2 ms: two threads wake each other and pass the
    interpreter lock back and forth. It pays where the lane receives the next batch meanwhile, and is pure overhead
    where there is little to receive. With batches run on the lane, an MLP at 8,100 requests/s had a p99 of 1.7 ms
    instead of 5.3, and the same throughput with 64 callers (two cores, 2026-11-26).

    There is hysteresis, so that the work does not move with every batch: once runners have it, they keep it until no
    more than half of ``lane_rows`` waits while none of them is busy.

    Args:
        lane_rows: Most rows of a batch that the lane runs; 0 = runners run all.
        latency_mode: Whether requests that arrive one at a time run on all cores.

    Attributes:
        exclusive: Whether a batch that runs on all cores is in flight, so that no other may start.
        batches: Number of batches in flight.
    """

    __slots__ = (
        "_ended_s",
        "_handed_over",
        "_lane_ran_last",
        "_lane_rows",
        "_latency_mode",
        "_sequential_requests",
        "batches",
        "exclusive",
    )

    def __init__(self, *, lane_rows: int, latency_mode: bool) -> None:
        self.exclusive = False
        self.batches = 0
        self._handed_over = False
        self._lane_rows = lane_rows
        self._lane_ran_last = True
        self._latency_mode = latency_mode
        self._sequential_requests = 0
        self._ended_s = -math.inf

    def is_for_lane(self, pending_rows: int) -> bool:
        """Whether the lane is to run the pending rows."""
        limit = self._lane_rows if self._lane_ran_last else self._lane_rows // 2
        return 0 < pending_rows <= limit and not self.batches and not self._handed_over

    def hand_over(self) -> None:
        """Leave the pending jobs to runners, however few. If a batch is in flight, its end decides instead."""
        self._handed_over = not self.batches

    def start(self, batch: Batch, pending_rows: int, *, on_lane: bool) -> None:
        """Note that a batch was taken and so many rows still wait. Sets ``batch.exclusive``."""
        self._lane_ran_last = on_lane
        self._handed_over = False
        if self._latency_mode:
            jobs = batch.jobs
            is_single = not self.batches and not pending_rows and len(jobs) == 1
            is_sequential = is_single and jobs[0].arrived_s >= self._ended_s - _ANSWERING_S
            self._sequential_requests = self._sequential_requests + 1 if is_sequential else 0
            batch.exclusive = self.exclusive = self._sequential_requests > MIN_SEQUENTIAL_REQUESTS
        self.batches += 1

    def finish(self, now_s: float) -> bool:
        """Note that a batch has finished. Returns whether it was exclusive, so that others may start now."""
        self.batches -= 1
        self._ended_s = now_s
        was_exclusive, self.exclusive = self.exclusive, False
        return was_exclusive
