"""Which of the jobs that wait are the next batch, and when it is due. Those that nobody waits for are left out."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.drops import drop_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.batching.run_times import RunTimes
    from sardonyx_server.engine.batching.waiting import Waiting
    from sardonyx_server.engine.requests.plan import Bucket
    from sardonyx_server.errors import ServerError

__all__ = ["Cutting"]


class Cutting:
    """Of one queue. Not thread-safe.

    Args:
        model_name: For messages.
        policy: What may join, and for how long a batch waits.
        waiting: What batches are cut from.
        run_times: What a batch takes: what cannot be ready by its deadline is not given out.
        retry_after_s: The advice when to retry.
    """

    __slots__ = ("_model_name", "_policy", "_retry_after_s", "_run_times", "_waiting")

    def __init__(
        self,
        model_name: str,
        policy: BatchPolicy,
        waiting: Waiting,
        run_times: RunTimes,
        retry_after_s: Callable[[], float],
    ) -> None:
        self._model_name = model_name
        self._policy = policy
        self._waiting = waiting
        self._run_times = run_times
        self._retry_after_s = retry_after_s

    def cut(
        self, now: float, free_runners: int, dropped: list[tuple[Job, ServerError]]
    ) -> tuple[Batch | None, float | None]:
        """Take out the next batch.

        Args:
            now: On the queue's clock.
            free_runners: Others that would run what is left, at the same time.
            dropped: Here go jobs that were taken out and shall not run, each with what its caller is to hear.

        Returns:
            The batch and None; or None and how long until one is due (None: until something changes, 0: look again).
        """
        due_in: float | None = None
        for level in self._waiting.levels.values():
            if not level.buckets and level.delayed:
                job = level.delayed.popleft()
                level.buckets[job.plan.bucket] = deque((job,))
            for bucket in list(level.buckets) if self._policy.max_delay_s else level.buckets:
                oldest_s = level.buckets[bucket][0].arrived_s
                limit, closed_by, bucket_due_in = self._limit(bucket, oldest_s, now, free_runners)
                if limit:
                    batch = self._collect(bucket, limit, closed_by, now, dropped)
                    return (batch, None) if batch.jobs else (None, 0.0)
                due_in = bucket_due_in if due_in is None else min(due_in, bucket_due_in)
        return None, due_in

    def _limit(self, bucket: Bucket, oldest_s: float, now: float, free_runners: int) -> tuple[int, str, float]:
        """(rows to cut at, why, 0) for a bucket that is due, (0, "", seconds until it is due) for one that waits."""
        policy = self._policy
        limit = policy.shared_rows(unread=bucket.unread)
        if limit == 1:
            return 1, "alone", 0.0
        if not policy.max_delay_s and not policy.preferred_rows:
            waiting_rows = self._waiting.rows
            if waiting_rows <= limit == policy.max_rows:
                limit = policy.piece_rows
            if free_runners:
                # Leave them their share, since they would stand idle otherwise.
                share = -(-waiting_rows // (free_runners + 1))
                if share < limit:
                    return share, "shared", 0.0
            return limit, "full", 0.0
        rows = self._rows_up_to(limit, bucket)
        preferred = max((size for size in policy.preferred_rows if size <= rows), default=0)
        if preferred:
            return preferred, "preferred", 0.0
        if rows >= limit or not policy.max_delay_s:
            return limit, "full", 0.0
        due_in = oldest_s + policy.max_delay_s - now
        if due_in <= 0 or self._waiting.closed:
            return limit, "delay", 0.0
        return 0, "", due_in

    def _rows_up_to(self, limit: int, bucket: Bucket) -> int:
        """Rows of a bucket on all levels, for they join; counted no further than ``limit``."""
        rows = 0
        for level in self._waiting.levels.values():
            for job in level.buckets.get(bucket, ()):
                rows += job.rows
                if rows >= limit:
                    return rows
        return rows

    def _collect(
        self, bucket: Bucket, limit: int, closed_by: str, now: float, dropped: list[tuple[Job, ServerError]]
    ) -> Batch:
        """Take jobs of a bucket, highest priority first, until the limit. The first job is taken whatever its size."""
        jobs: list[Job] = []
        ready_s = now + self._run_times.needed_s(now)
        rows = removed_rows = removed_bytes = 0
        full = False
        for level in self._waiting.levels.values():
            waiting = level.buckets.pop(bucket, None)
            if waiting is None:
                continue
            while waiting:
                job = waiting[0]
                if jobs and rows + job.rows > limit:
                    full = True
                    break
                waiting.popleft()
                if job.expires_s <= now and level.policy.delay_on_timeout:
                    job.expires_s = math.inf
                    level.delayed.append(job)
                    continue
                level.requests -= job.requests
                removed_rows += job.rows
                removed_bytes += job.message_bytes
                # Nearly all are in time and waited for: of these it need not be asked.
                is_due = job.deadline_s > ready_s and job.expires_s > now and not job.call.cancelled
                reason = None if is_due else drop_reason(job, now, ready_s, self._model_name, self._retry_after_s)
                if reason is None:
                    jobs.append(job)
                    rows += job.rows
                    if rows >= limit:
                        full = True
                        break
                else:
                    dropped.append((job, reason))
            if waiting:
                level.buckets[bucket] = waiting
            if full:
                break
        self._waiting.removed(removed_rows, removed_bytes)
        return Batch(jobs, rows, "drained" if closed_by == "full" and not full else closed_by)
