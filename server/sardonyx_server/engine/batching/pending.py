"""Jobs that wait for one model, by priority level and, within each, by bucket."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.batching.byte_budget import ByteBudget
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.policy import BatchPolicy, QueuePolicy
    from sardonyx_server.engine.requests.plan import Bucket, Plan

__all__ = ["PendingJobs", "PriorityLevel"]


class PriorityLevel:
    """Jobs of one priority. Buckets are served round-robin: one that was not emptied moves to the end.

    Attributes:
        buckets: Jobs that may share a run, in order of arrival. None of the deques is empty.
        delayed: Jobs past their queue timeout, served after all others.
        policy: Queue policy of this level.
        requests: Requests that wait, or of which a part still waits.
    """

    __slots__ = ("buckets", "delayed", "policy", "requests")

    def __init__(self, policy: QueuePolicy) -> None:
        self.policy = policy
        self.buckets: dict[Bucket, deque[Job]] = {}
        self.delayed: deque[Job] = deque()
        self.requests = 0


class PendingJobs:
    """The jobs of one queue, with their total rows and bytes. Not thread-safe.

    Args:
        policy: Defines the priority levels.
        budget: The budget to which the bytes of removed jobs are released.

    Attributes:
        levels: By priority, highest first.
        only_level: The level of all requests; None where there are several.
        rows: Rows that wait.
        message_bytes: Bytes of the messages that wait.
        closed: Whether no further request is admitted.
    """

    __slots__ = ("_budget", "_default_level", "closed", "levels", "message_bytes", "only_level", "rows")

    def __init__(self, policy: BatchPolicy, budget: ByteBudget) -> None:
        self.levels = {number: PriorityLevel(level) for number, level in policy.levels.items()}
        self.rows = 0
        self.message_bytes = 0
        self.closed = False
        self._default_level = self.levels[policy.default_level]
        self.only_level = self._default_level if len(self.levels) == 1 else None
        self._budget = budget

    @property
    def requests(self) -> int:
        """Requests that wait, or of which a part still waits."""
        return sum(level.requests for level in self.levels.values())

    def level_of(self, plan: Plan) -> PriorityLevel:
        """The priority level of a request."""
        return self.levels.get(plan.priority) or self._default_level

    def append(self, level: PriorityLevel, jobs: Sequence[Job], arrived_s: float, expires_s: float) -> None:
        """Append a request to its bucket. The caller has already reserved its bytes from the budget."""
        bucket = jobs[0].plan.bucket
        queued = level.buckets.get(bucket)
        if queued is None:
            queued = level.buckets[bucket] = deque()
        for job in jobs:
            job.arrived_s = arrived_s
            job.expires_s = expires_s
            queued.append(job)
            self.rows += job.rows
            self.message_bytes += job.message_bytes
        level.requests += 1

    def removed(self, rows: int, size: int) -> None:
        """Account for jobs that were taken out of their buckets: their total rows, and bytes of their messages."""
        self.rows -= rows
        self.message_bytes -= size
        self._budget.release(size)

    def clear(self) -> list[Job]:
        """Remove and return all jobs."""
        levels = self.levels.values()
        jobs = [job for level in levels for queue in level.buckets.values() for job in queue]
        jobs += [job for level in levels for job in level.delayed]
        for level in levels:
            level.buckets.clear()
            level.delayed.clear()
            level.requests = 0
        self.removed(sum(job.rows for job in jobs), sum(job.message_bytes for job in jobs))
        return jobs
