"""Batch formation: selects the pending jobs of the next batch, decides when it is due, and drops expired jobs."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.drop_policy import drop_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.pending import PendingJobs
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.batching.run_times import RunTimes
    from sardonyx_server.engine.requests.plan import Bucket
    from sardonyx_server.errors import ServerError

__all__ = ["Batcher"]


class Batcher:
    """Forms the batches of one queue. Not thread-safe.

    Args:
        model_name: For messages.
        policy: Batch size limits and queue delay.
        pending: The jobs of the queue.
        run_times: Estimate of the time of one run. A job whose deadline is sooner is dropped.
        retry_after_s: Returns the retry delay to advise.
    """

    __slots__ = ("_model_name", "_pending", "_policy", "_retry_after_s", "_run_times")

    def __init__(
        self,
        model_name: str,
        policy: BatchPolicy,
        pending: PendingJobs,
        run_times: RunTimes,
        retry_after_s: Callable[[], float],
    ) -> None:
        self._model_name = model_name
        self._policy = policy
        self._pending = pending
        self._run_times = run_times
        self._retry_after_s = retry_after_s

    def next_batch(
        self, now: float, free_runners: int, dropped: list[tuple[Job, ServerError]]
    ) -> tuple[Batch | None, float | None]:
        """Remove the next batch from the pending jobs.

        Args:
            now: On the queue's clock.
            free_runners: Other idle runners, which would run the remaining jobs at the same time.
            dropped: Receives removed jobs that shall not run, each with the error for its caller.

        Returns:
            ``(batch, None)``, or ``(None, seconds until one is due)``: None = nothing is due until the queue changes,
            0 = call again, because only dropped jobs were found.
        """
        due_in: float | None = None
        for level in self._pending.levels.values():
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
        """Return (row limit, ``closed_by``, 0) for a bucket that is due, else (0, "", seconds until it is due)."""
        policy = self._policy
        limit = policy.batch_rows_limit(deferred_reads=bucket.deferred_reads)
        if limit == 1:
            return 1, "alone", 0.0
        if not policy.max_delay_s and not policy.preferred_rows:
            pending_rows = self._pending.rows
            if pending_rows <= limit == policy.max_rows:
                limit = policy.microbatch_rows
            if free_runners:
                # Leave a share of the rows to the other runners, which would stay idle otherwise.
                share = -(-pending_rows // (free_runners + 1))
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
        if due_in <= 0 or self._pending.closed:
            return limit, "delay", 0.0
        return 0, "", due_in

    def _rows_up_to(self, limit: int, bucket: Bucket) -> int:
        """Count the rows of a bucket over all priority levels, which share batches. Stops at ``limit``."""
        rows = 0
        for level in self._pending.levels.values():
            for job in level.buckets.get(bucket, ()):
                rows += job.rows
                if rows >= limit:
                    return rows
        return rows

    def _collect(
        self, bucket: Bucket, limit: int, closed_by: str, now: float, dropped: list[tuple[Job, ServerError]]
    ) -> Batch:
        """Take jobs of a bucket up to the limit, highest priority first. The first job is taken whatever its size."""
        jobs: list[Job] = []
        ready_s = now + self._run_times.estimate_s(now)
        rows = removed_rows = removed_bytes = 0
        full = False
        for level in self._pending.levels.values():
            queued = level.buckets.pop(bucket, None)
            if queued is None:
                continue
            while queued:
                job = queued[0]
                if jobs and rows + job.rows > limit:
                    full = True
                    break
                queued.popleft()
                if job.expires_s <= now and level.policy.delay_on_timeout:
                    job.expires_s = math.inf
                    level.delayed.append(job)
                    continue
                level.requests -= job.requests
                removed_rows += job.rows
                removed_bytes += job.message_bytes
                # Fast path: nearly all jobs are in time and not cancelled.
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
            if queued:
                level.buckets[bucket] = queued
            if full:
                break
        self._pending.removed(removed_rows, removed_bytes)
        return Batch(jobs, rows, "drained" if closed_by == "full" and not full else closed_by)
