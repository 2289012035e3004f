"""What waits for one model: jobs by priority, and by bucket within each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.batching.budget import ByteBudget
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.policy import BatchPolicy, LevelPolicy
    from sardonyx_server.engine.requests.plan import Bucket, Plan

__all__ = ["Level", "Waiting"]


class Level:
    """Jobs of one priority. The first bucket is next; one that was not emptied goes to the end, so none starves.

    Attributes:
        buckets: Jobs that may share a run, in the order in which they came. None is empty.
        delayed: Jobs past their time-out, behind all others.
        policy: What holds for them.
        requests: Requests that wait, or of which a part still does.
    """

    __slots__ = ("buckets", "delayed", "policy", "requests")

    def __init__(self, policy: LevelPolicy) -> None:
        self.policy = policy
        self.buckets: dict[Bucket, deque[Job]] = {}
        self.delayed: deque[Job] = deque()
        self.requests = 0


class Waiting:
    """Jobs of one queue, and how much they are. Not thread-safe.

    Args:
        policy: Which levels there are.
        budget: Where bytes of what leaves are given back.

    Attributes:
        levels: By priority, the highest first.
        only_level: Of all requests; None where there are several.
        rows: That wait.
        message_bytes: Of the messages that wait.
        closed: Whether nothing more will be let in.
    """

    __slots__ = ("_budget", "_default_level", "closed", "levels", "message_bytes", "only_level", "rows")

    def __init__(self, policy: BatchPolicy, budget: ByteBudget) -> None:
        self.levels = {number: Level(level) for number, level in policy.levels.items()}
        self.rows = 0
        self.message_bytes = 0
        self.closed = False
        self._default_level = self.levels[policy.default_level]
        self.only_level = self._default_level if len(self.levels) == 1 else None
        self._budget = budget

    @property
    def requests(self) -> int:
        """Requests that wait, or of which a part still does."""
        return sum(level.requests for level in self.levels.values())

    def level_of(self, plan: Plan) -> Level:
        """The level that a request belongs to."""
        return self.levels.get(plan.priority) or self._default_level

    def append(self, level: Level, jobs: Sequence[Job], arrived_s: float, expires_s: float) -> None:
        """Put a request at the end of its bucket. Its bytes are taken from the budget by who lets it in."""
        bucket = jobs[0].plan.bucket
        waiting = level.buckets.get(bucket)
        if waiting is None:
            waiting = level.buckets[bucket] = deque()
        for job in jobs:
            job.arrived_s = arrived_s
            job.expires_s = expires_s
            waiting.append(job)
            self.rows += job.rows
            self.message_bytes += job.message_bytes
        level.requests += 1

    def removed(self, rows: int, size: int) -> None:
        """So many rows, and bytes of messages, wait no longer: their jobs were taken out of their buckets."""
        self.rows -= rows
        self.message_bytes -= size
        self._budget.give(size)

    def clear(self) -> list[Job]:
        """Take out all that waits."""
        levels = self.levels.values()
        jobs = [job for level in levels for queue in level.buckets.values() for job in queue]
        jobs += [job for level in levels for job in level.delayed]
        for level in levels:
            level.buckets.clear()
            level.delayed.clear()
            level.requests = 0
        self.removed(sum(job.rows for job in jobs), sum(job.message_bytes for job in jobs))
        return jobs
