"""The queue of one model. Batching is by pull: who is free to run asks for the next batch and gets all that fits.

It holds the lock and knows whose turn it is. Whom it lets in is in admission.py, what a batch is in cutting.py.

Greedy and work-conserving: a batch waits for more requests only where the model's config asks for a delay. Jobs that
nobody waits for any more are dropped at the moment of taking, so the model never runs for them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sardonyx_server.engine.batching.admission import Admission
from sardonyx_server.engine.batching.cutting import Cutting
from sardonyx_server.engine.batching.idle import IdleRunners
from sardonyx_server.engine.batching.pace import Pace
from sardonyx_server.engine.batching.run_times import RunTimes
from sardonyx_server.engine.batching.under_way import UnderWay
from sardonyx_server.engine.batching.waiting import Waiting
from sardonyx_server.engine.counting.tracing import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.batching.batch import Batch
    from sardonyx_server.engine.batching.budget import ByteBudget
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.places import Place
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.counting.failures import Failures
    from sardonyx_server.engine.requests.plan import Plan
    from sardonyx_server.errors import ServerError

__all__ = ["BatchQueue"]


class BatchQueue:
    """Jobs that wait for one model. All methods are thread-safe; none but :meth:`take` blocks.

    Args:
        model_name: For messages.
        policy: What may join, how much may wait, for how long.
        budget: The server's bound of bytes, shared by all queues.
        failures: Where requests that are dropped are counted.
        seconds_per_row: Measured cost, for the advice when to retry.
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
        self._waiting = Waiting(policy, budget)
        self._pace = Pace()
        self._run_times = RunTimes()
        self._admission = Admission(
            model_name,
            policy,
            budget,
            self._waiting,
            pace=self._pace,
            run_times=self._run_times,
            seconds_per_row=seconds_per_row,
            clock=clock,
        )
        self._cutting = Cutting(model_name, policy, self._waiting, self._run_times, self._admission.retry_after_s)
        self._under_way = UnderWay(lane_rows=policy.lane_rows, widens=policy.widens)
        self._idle = 0
        # Whether the thread that puts is still reading requests of the same burst.
        self._more_comes = False

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._waiting.rows

    @property
    def message_bytes(self) -> int:
        """Bytes of the messages that wait."""
        return self._waiting.message_bytes

    @property
    def requests(self) -> int:
        """Requests that wait, or of which a part still does."""
        return self._waiting.requests

    def put(self, jobs: Sequence[Job], arrived_s: float | None = None) -> None:
        """Admit a request: one job, or all the parts of a split one.

        Args:
            jobs: At least one.
            arrived_s: When it came, on the queue's clock; None = now.

        Raises:
            Overloaded: A bound is reached; nothing was admitted.
            QueueClosed: The model drains; nothing was admitted.
        """
        first = jobs[0]
        plan = first.plan
        level = self._waiting.only_level or self._waiting.level_of(plan)
        rows = first.rows if len(jobs) == 1 else sum(job.rows for job in jobs)
        if arrived_s is None:
            arrived_s = self._clock()
        expires_s = arrived_s + level.policy.wait_s(plan.timeout_s)
        # Not by `with`, which takes twice as long: it is of each request.
        self._lock.acquire()
        try:
            self._admission.admit(level, plan.bucket, first.deadline_s, rows, jobs[-1].message_bytes)
            if first.trace is not None:
                first.trace.mark(Stage.QUEUED)
            self._waiting.append(level, jobs, arrived_s, expires_s)
            self._more_comes = True
        finally:
            self._lock.release()

    def foresee(self, plan: Plan, deadline_s: float, size: int) -> Place | None:
        """Raise as :meth:`put` would for a request that is still on its way. Admits nothing.

        Args:
            plan: Of the request.
            deadline_s: When its caller gives up, on the queue's clock.
            size: Of its message in bytes.

        Returns:
            A place that is kept for it, until :meth:`give_up`; None where there is room for all.

        Raises:
            Overloaded: A bound is reached, or it would wait beyond its deadline.
            QueueClosed: The model drains.
        """
        level = self._waiting.level_of(plan)
        with self._lock:
            return self._admission.foresee(level, plan, deadline_s, size)

    def give_up(self, place: Place) -> None:
        """What a place was kept for has come, or will not come."""
        with self._lock:
            self._admission.give_up(place)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put in what was admitted along with an equal request that has gone. Wakes runners.

        No bound holds, not even where the model drains: it was admitted before.

        Args:
            jobs: As for :meth:`put`, ``arrived_s`` set: their time in the queue goes on from there.
        """
        first = jobs[0]
        plan = first.plan
        level = self._waiting.level_of(plan)
        self._budget.add(jobs[-1].message_bytes)
        with self._lock:
            self._waiting.append(level, jobs, first.arrived_s, first.arrived_s + level.policy.wait_s(plan.timeout_s))
            self._under_way.hand_over()
            self._runners.wake(len(jobs))

    def wake(self) -> None:
        """Wake runners for what was put; needed after each ``put``, soon.

        Not part of ``put``: a runner that took the first request of a burst would run it alone, and fight for the
        interpreter with the thread that is still reading the others.
        """
        with self._lock:
            self._wake()

    def lends(self) -> bool:
        """Whether what waits is for the lane itself: it is little, and no runner is at work. See :meth:`lend`."""
        with self._lock:
            return self._is_for_lane

    def lend(self) -> Batch | None:
        """A batch for the lane's thread, where what waits is for the lane; else None, and runners are woken."""
        with self._lock:
            if not self._is_for_lane:
                self._wake()
                return None
            self._more_comes = False
        return self.take(wait=False)

    def take(self, *, wait: bool) -> Batch | None:
        """Take what shall run next.

        Args:
            wait: Whether to block until there is something, or the queue is closed and empty.

        Returns:
            A batch; None where nothing waits (``wait`` false) or nothing will come any more (``wait`` true).
        """
        while True:
            dropped: list[tuple[Job, ServerError]] = []
            with self._lock:
                if self._under_way.is_wide or (wait and self._is_not_for_runners):
                    batch, wait_s = None, None
                else:
                    # Of what is the lane's no runner takes a share.
                    free = self._idle if self._idle and not self._is_for_lane else 0
                    batch, wait_s = self._cutting.cut(self._clock(), free, dropped)
                if batch is not None:
                    self._under_way.begun(batch, self._waiting.rows, on_lane=not wait)
                    if wait:
                        self._pace.taken(batch.rows, self._clock())
                if batch is None and not dropped and wait_s != 0.0:
                    if not wait or (self._waiting.closed and not self._waiting.rows):
                        return None
                    self._pace.idle()
                    self._idle += 1
                    self._runners.wait(wait_s)
                    self._idle -= 1
            for job, error in dropped:
                job.fail(error, self._failures)
            if batch is not None:
                return batch

    def took(self, seconds: float, rows: int) -> bool:
        """A batch of so many rows is over, after so long: what cannot be ready by its deadline is not given out.

        Returns:
            Whether what waits now is left to the lane, which does not know that yet.
        """
        with self._lock:
            now = self._clock()
            self._run_times.took(seconds, now)
            self._pace.took(rows, seconds)
            self._over(now)
            return self._is_for_lane and not self._more_comes

    def close(self) -> None:
        """Admit nothing more; what waits is still given out, without delay."""
        with self._lock:
            self._waiting.closed = True
            self._runners.wake_all()

    def refuse_waiting(self, error: ServerError) -> None:
        """Answer all that waits with an error: when the time for draining is over."""
        with self._lock:
            jobs = self._waiting.clear()
            self._runners.wake_all()
        for job in jobs:
            job.fail(error, self._failures)

    @property
    def _is_for_lane(self) -> bool:
        """Whether what waits is the lane's to run. Has the lock."""
        return not self._waiting.closed and self._under_way.leaves_to_lane(self._waiting.rows)

    @property
    def _is_not_for_runners(self) -> bool:
        """Whether runners are to wait: for more that comes with it, or since it is the lane's. Has the lock."""
        more_comes = self._more_comes and self._waiting.rows < self._policy.piece_rows and not self._waiting.closed
        return more_comes or self._is_for_lane

    def _wake(self) -> None:
        """Leave what waits to runners. Has the lock."""
        self._more_comes = False
        if self._waiting.rows:
            self._under_way.hand_over()
            if self._idle and not self._under_way.is_wide:
                self._runners.wake(self._waiting.rows)

    def _over(self, now: float) -> None:
        """A batch is over, where some have all cores. Has the lock."""
        if self._under_way.over(now):
            if self._waiting.closed:
                self._runners.wake_all()
            elif self._waiting.rows > 1:
                # Who has run this one takes the next, too.
                self._runners.wake(self._waiting.rows - 1)
