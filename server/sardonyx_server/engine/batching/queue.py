"""The request queue of one model. Batching is pull-based: an idle runner takes the next batch, as large as fits.

This module holds the lock and decides which thread runs the next batch. admission.py decides which requests are
accepted, batcher.py which of them form a batch.

Scheduling is greedy and work-conserving: a batch waits for more requests only where the model's config sets a queue
delay. Expired and cancelled jobs are dropped at dequeue, so that the model never runs for them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sardonyx_server.engine.batching.admission import Admission
from sardonyx_server.engine.batching.batcher import Batcher
from sardonyx_server.engine.batching.idle_runners import IdleRunners
from sardonyx_server.engine.batching.in_flight import InFlightBatches
from sardonyx_server.engine.batching.pending import PendingJobs
from sardonyx_server.engine.batching.run_times import RunTimes
from sardonyx_server.engine.batching.service_rate import ServiceRate
from sardonyx_server.engine.telemetry.tracing import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.batching.batch import Batch
    from sardonyx_server.engine.batching.byte_budget import ByteBudget
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.batching.reservations import Reservation
    from sardonyx_server.engine.requests.plan import Plan
    from sardonyx_server.engine.telemetry.failures import Failures
    from sardonyx_server.errors import ServerError

__all__ = ["BatchQueue"]


class BatchQueue:
    """The jobs that wait for one model. All methods are thread-safe; only :meth:`take` blocks.

    Args:
        model_name: For messages.
        policy: Batching and queue limits.
        budget: Limit on bytes, shared by all queues of the server.
        failures: Counts the requests that are dropped.
        seconds_per_row: Measured at load; used for the retry delay.
        clock: ``time.monotonic``.
    """

    def __init__(
        self,
        model_name: str,
        policy: BatchPolicy,
        budget: ByteBudget,
        *,
        failures: Failures,
        seconds_per_row: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._failures = failures
        self._clock = clock
        self._lock = threading.Lock()
        self._runners = IdleRunners(self._lock)
        self._pending = PendingJobs(policy, budget)
        self._service_rate = ServiceRate()
        self._run_times = RunTimes()
        self._admission = Admission(
            model_name,
            policy,
            budget,
            self._pending,
            service_rate=self._service_rate,
            run_times=self._run_times,
            seconds_per_row=seconds_per_row,
            clock=clock,
        )
        self._batcher = Batcher(model_name, policy, self._pending, self._run_times, self._admission.retry_after_s)
        self._in_flight = InFlightBatches(lane_rows=policy.lane_rows, latency_mode=policy.latency_mode)
        self._idle_count = 0
        # Whether the thread that calls put() is still reading requests of the same burst.
        self._burst_open = False

    @property
    def rows(self) -> int:
        """Pending rows."""
        return self._pending.rows

    @property
    def message_bytes(self) -> int:
        """Bytes of the pending messages."""
        return self._pending.message_bytes

    @property
    def requests(self) -> int:
        """Pending requests, including those of which only a part still waits."""
        return self._pending.requests

    def put(self, jobs: Sequence[Job], arrived_s: float | None = None) -> None:
        """Admit a request: one job, or all the parts of a split one. Wakes nobody: see :meth:`wake`.

        Args:
            jobs: At least one.
            arrived_s: When the request arrived, on the queue's clock; None = now.

        Raises:
            Overloaded: A bound is reached or the deadline is too soon. Nothing was admitted.
            QueueClosed: The model is draining. Nothing was admitted.
        """
        first = jobs[0]
        plan = first.plan
        level = self._pending.only_level or self._pending.level_of(plan)
        rows = first.rows if len(jobs) == 1 else sum(job.rows for job in jobs)
        if arrived_s is None:
            arrived_s = self._clock()
        expires_s = arrived_s + level.policy.wait_s(plan.timeout_s)
        # acquire() and release(), because `with` takes twice as long and this runs for every request.
        self._lock.acquire()
        try:
            self._admission.admit(level, plan.bucket, first.deadline_s, rows, jobs[-1].message_bytes)
            if first.trace is not None:
                first.trace.mark(Stage.QUEUED)
            self._pending.append(level, jobs, arrived_s, expires_s)
            self._burst_open = True
        finally:
            self._lock.release()

    def reserve(self, plan: Plan, deadline_s: float, size: int) -> Reservation | None:
        """Check a request whose message is still being received, and reserve a slot for it. Admits nothing.

        Args:
            plan: The plan of the request.
            deadline_s: Its deadline, on the queue's clock.
            size: Size of its message in bytes.

        Returns:
            The slot, to be given to :meth:`release`; None while there is no backlog, when no slot is needed.

        Raises:
            Overloaded: A bound is reached, or the answer would come after the deadline.
            QueueClosed: The model is draining.
        """
        level = self._pending.level_of(plan)
        with self._lock:
            return self._admission.reserve(level, plan, deadline_s, size)

    def release(self, reservation: Reservation) -> None:
        """Release a slot: its request has arrived or will not arrive."""
        with self._lock:
            self._admission.release(reservation)

    def requeue(self, jobs: Sequence[Job]) -> None:
        """Enqueue a request that waited for an equal one which has since been dropped or cancelled. Wakes runners.

        It was admitted before, so no bound applies, not even while the model drains.

        Args:
            jobs: As for :meth:`put`, with ``arrived_s`` set: their time in the queue counts from there.
        """
        first = jobs[0]
        plan = first.plan
        level = self._pending.level_of(plan)
        self._budget.reserve(jobs[-1].message_bytes)
        with self._lock:
            self._pending.append(level, jobs, first.arrived_s, first.arrived_s + level.policy.wait_s(plan.timeout_s))
            self._in_flight.hand_over()
            self._runners.wake(len(jobs))

    def wake(self) -> None:
        """Wake runners for the pending jobs. Must be called soon after each ``put``.

        It is separate from ``put`` because a runner that took the first request of a burst would run it alone, and
        would compete for the GIL with the thread that is still reading the rest.
        """
        with self._lock:
            self._wake()

    def is_for_lane(self) -> bool:
        """Whether the lane is to run the pending jobs: they are few and no runner is busy. See ``take_for_lane``."""
        with self._lock:
            return self._lane_runs_next

    def take_for_lane(self) -> Batch | None:
        """Take a batch on the lane's thread if the lane is to run it; else wake runners and return None."""
        with self._lock:
            if not self._lane_runs_next:
                self._wake()
                return None
            self._burst_open = False
        return self.take(wait=False)

    def take(self, *, wait: bool) -> Batch | None:
        """Take the next batch. Fails the jobs that it drops.

        Args:
            wait: Whether to block until a batch is due, or the queue is closed and empty.

        Returns:
            The batch; None where none is due (``wait`` false) or the queue is closed and empty (``wait`` true).
        """
        while True:
            dropped: list[tuple[Job, ServerError]] = []
            with self._lock:
                if self._in_flight.exclusive or (wait and self._runners_must_wait):
                    batch, wait_s = None, None
                else:
                    # Runners take no share of what the lane is to run.
                    free = self._idle_count if self._idle_count and not self._lane_runs_next else 0
                    batch, wait_s = self._batcher.next_batch(self._clock(), free, dropped)
                if batch is not None:
                    self._in_flight.start(batch, self._pending.rows, on_lane=not wait)
                    if wait:
                        self._service_rate.batch_taken(batch.rows, self._clock())
                if batch is None and not dropped and wait_s != 0.0:
                    if not wait or (self._pending.closed and not self._pending.rows):
                        return None
                    self._service_rate.runner_idle()
                    self._idle_count += 1
                    self._runners.wait(wait_s)
                    self._idle_count -= 1
            for job, error in dropped:
                job.fail(error, self._failures)
            if batch is not None:
                return batch

    def finish(self, seconds: float, rows: int) -> bool:
        """Note that a batch has finished, and update the estimates. Must be called once for each batch taken.

        Args:
            seconds: Time from taking the batch to its answers.
            rows: Rows of the batch.

        Returns:
            Whether the lane is to run the pending jobs and must be told so.
        """
        with self._lock:
            now = self._clock()
            self._run_times.record(seconds, now)
            self._service_rate.batch_finished(rows, seconds)
            self._release_exclusive(now)
            return self._lane_runs_next and not self._burst_open

    def close(self) -> None:
        """Admit no more requests. Pending jobs can still be taken, without queue delay."""
        with self._lock:
            self._pending.closed = True
            self._runners.wake_all()

    def fail_pending(self, error: ServerError) -> None:
        """Fail all pending jobs with an error, when the drain timeout is over."""
        with self._lock:
            jobs = self._pending.clear()
            self._runners.wake_all()
        for job in jobs:
            job.fail(error, self._failures)

    @property
    def _lane_runs_next(self) -> bool:
        """Whether the lane is to run the pending jobs. Requires: the lock is held."""
        return not self._pending.closed and self._in_flight.is_for_lane(self._pending.rows)

    @property
    def _runners_must_wait(self) -> bool:
        """Whether runners must wait: the burst is still arriving, or the lane runs it. Requires: the lock is held."""
        burst_open = self._burst_open and self._pending.rows < self._policy.microbatch_rows and not self._pending.closed
        return burst_open or self._lane_runs_next

    def _wake(self) -> None:
        """Leave the pending jobs to runners. Requires: the lock is held."""
        self._burst_open = False
        if self._pending.rows:
            self._in_flight.hand_over()
            if self._idle_count and not self._in_flight.exclusive:
                self._runners.wake(self._pending.rows)

    def _release_exclusive(self, now: float) -> None:
        """Note that a batch has finished; if it was exclusive, let others start. Requires: the lock is held."""
        if self._in_flight.finish(now):
            if self._pending.closed:
                self._runners.wake_all()
            elif self._pending.rows > 1:
                # The thread that ran this one takes the next batch as well.
                self._runners.wake(self._pending.rows - 1)
