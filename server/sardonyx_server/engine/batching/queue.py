"""The queue of one model. Batching is by pull: who is free to run asks for the next batch and gets all that fits.

Greedy and work-conserving: a batch waits for more requests only where the model's config asks for a delay. Jobs that
nobody waits for any more are dropped at the moment of taking, so the model never runs for them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.drops import drop_reason
from sardonyx_server.engine.batching.pace import Pace
from sardonyx_server.engine.batching.places import Places
from sardonyx_server.engine.batching.run_times import RunTimes
from sardonyx_server.engine.batching.under_way import UnderWay
from sardonyx_server.engine.counting.failures import Failures
from sardonyx_server.engine.counting.tracing import Stage
from sardonyx_server.errors import (
    ModelUnavailable,
    Overloaded,
    QueueBytesFull,
    QueueTooLong,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.batching.budget import ByteBudget
    from sardonyx_server.engine.batching.job import Job
    from sardonyx_server.engine.batching.places import Place
    from sardonyx_server.engine.batching.policy import BatchPolicy, LevelPolicy
    from sardonyx_server.engine.requests.plan import Bucket, Plan

__all__ = ["BatchQueue", "QueueClosed"]

_MIN_RETRY_AFTER_S: Final = 0.01
# By so much of the time until its answer a request must be better than just in time: the server hears of it late, and
# the answer has a way to go. And by so much where the message has a way to go as well.
_MARGIN: Final = 0.15
_MARGIN_OF_COMING: Final = 0.4


class QueueClosed(ModelUnavailable):
    """The model drains: look it up again, a newer version may have taken its place."""


class _Level:
    """Jobs of one priority. The first bucket is next; one that was not emptied goes to the end, so none starves.

    Attributes:
        requests: Requests that wait, or of which a part still does.
    """

    __slots__ = ("buckets", "delayed", "policy", "requests")

    def __init__(self, policy: LevelPolicy) -> None:
        self.policy = policy
        self.buckets: dict[Bucket, deque[Job]] = {}
        self.delayed: deque[Job] = deque()
        self.requests = 0


class BatchQueue:
    """Jobs that wait for one model. All methods are thread-safe; none but :meth:`take` blocks.

    Args:
        model_name: For messages.
        policy: What may join, how much may wait, for how long.
        budget: The server's bound of bytes, shared by all queues.
        failures: Where requests that are dropped are counted; None: nowhere.
        seconds_per_row: Measured cost, for the advice when to retry.
        clock: ``time.monotonic``.
    """

    def __init__(
        self,
        model_name: str,
        policy: BatchPolicy,
        budget: ByteBudget,
        *,
        failures: Failures | None = None,
        seconds_per_row: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model_name = model_name
        self._policy = policy
        self._budget = budget
        self._failures = failures or Failures()
        self._seconds_per_row = seconds_per_row
        self._clock = clock
        self._levels = {number: _Level(level) for number, level in policy.levels.items()}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._run_times = RunTimes()
        self._pace = Pace()
        self._places = Places()
        self._idle = 0
        self._under_way = UnderWay(lane_rows=policy.lane_rows, widens=policy.widens)
        self._closed = False
        # Whether the thread that puts is still reading requests of the same burst.
        self._more_comes = False
        self.rows = 0
        self.message_bytes = 0

    @property
    def requests(self) -> int:
        """Requests that wait, or of which a part still does."""
        return sum(level.requests for level in self._levels.values())

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
        level = self._level_of(plan)
        rows = first.rows if len(jobs) == 1 else sum(job.rows for job in jobs)
        size = jobs[-1].message_bytes
        if arrived_s is None:
            arrived_s = self._clock()
        expires_s = arrived_s + level.policy.wait_s(plan.timeout_s)
        with self._lock:
            self._check_room(level, rows, size)
            if self._pace.row_s:
                self._check_time(level, plan.bucket, first.deadline_s, _MARGIN)
            if not self._budget.take(size):
                raise self._server_full(size)
            if first.trace is not None:
                first.trace.mark(Stage.QUEUED)
            self._append(level, jobs, arrived_s, expires_s)
            self.rows += rows
            self.message_bytes += size
            self._more_comes = True

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
        level = self._level_of(plan)
        with self._lock:
            self._check_room(level, plan.rows, size)
            if not self._pace.row_s:
                return None
            now = self._clock()
            self._places.see_clock(now)
            self._check_time(level, plan.bucket, deadline_s, _MARGIN_OF_COMING, self._places.rows)
            return self._places.keep(plan.rows, now)

    def give_up(self, place: Place) -> None:
        """What a place was kept for has come, or will not come."""
        with self._lock:
            self._places.give_up(place)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put in what was admitted along with an equal request that has gone. Wakes runners.

        No bound holds, not even where the model drains: it was admitted before.

        Args:
            jobs: As for :meth:`put`, ``arrived_s`` set: their time in the queue goes on from there.
        """
        first = jobs[0]
        plan = first.plan
        level = self._level_of(plan)
        size = jobs[-1].message_bytes
        self._budget.add(size)
        with self._lock:
            self._append(level, jobs, first.arrived_s, first.arrived_s + level.policy.wait_s(plan.timeout_s))
            self.rows += sum(job.rows for job in jobs)
            self.message_bytes += size
            self._under_way.hand_over()
            self._changed.notify(len(jobs))

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
                    batch, wait_s = self._cut(self._clock(), dropped)
                if batch is not None:
                    self._under_way.begun(batch, self.rows, on_lane=not wait)
                    if wait:
                        self._pace.taken(batch.rows, self._clock())
                if batch is None and not dropped and wait_s != 0.0:
                    if not wait or (self._closed and not self.rows):
                        return None
                    self._pace.idle()
                    self._idle += 1
                    self._changed.wait(wait_s)
                    self._idle -= 1
            for job, error in dropped:
                job.fail(error, self._failures)
            if batch is not None:
                return batch

    def took(self, seconds: float, rows: int = 1) -> bool:
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
            self._closed = True
            self._changed.notify_all()

    def refuse_waiting(self, error: ServerError) -> None:
        """Answer all that waits with an error: when the time for draining is over."""
        with self._lock:
            jobs = [job for level in self._levels.values() for queue in level.buckets.values() for job in queue]
            jobs += [job for level in self._levels.values() for job in level.delayed]
            for level in self._levels.values():
                level.buckets.clear()
                level.delayed.clear()
                level.requests = 0
            self._account(sum(job.rows for job in jobs), sum(job.message_bytes for job in jobs))
            self._changed.notify_all()
        for job in jobs:
            job.fail(error, self._failures)

    @property
    def _is_for_lane(self) -> bool:
        """Whether what waits is the lane's to run. Has the lock."""
        return not self._closed and self._under_way.leaves_to_lane(self.rows)

    @property
    def _is_not_for_runners(self) -> bool:
        """Whether runners are to wait: for more that comes with it, or since it is the lane's. Has the lock."""
        more_comes = self._more_comes and self.rows < self._policy.piece_rows and not self._closed
        return more_comes or self._is_for_lane

    def _wake(self) -> None:
        """Leave what waits to runners. Has the lock."""
        self._more_comes = False
        if self.rows:
            self._under_way.hand_over()
            if self._idle and not self._under_way.is_wide:
                self._changed.notify(self.rows)

    def _over(self, now: float) -> None:
        """A batch is over, where some have all cores. Has the lock."""
        if self._under_way.over(now):
            if self._closed:
                self._changed.notify_all()
            elif self.rows > 1:
                # Who has run this one takes the next, too.
                self._changed.notify(self.rows - 1)

    def _append(self, level: _Level, jobs: Sequence[Job], arrived_s: float, expires_s: float) -> None:
        """Put a request at the end of its bucket. Has the lock."""
        bucket = jobs[0].plan.bucket
        waiting = level.buckets.get(bucket)
        if waiting is None:
            waiting = level.buckets[bucket] = deque()
        for job in jobs:
            job.arrived_s = arrived_s
            job.expires_s = expires_s
            waiting.append(job)
        level.requests += 1

    def _level_of(self, plan: Plan) -> _Level:
        return self._levels.get(plan.priority) or self._levels[self._policy.default_level]

    def _check_room(self, level: _Level, rows: int, size: int) -> None:
        """Raise unless the request fits. A queue that is empty takes a request of any size: else it would never run."""
        policy = self._policy
        if self._closed:
            raise QueueClosed(f"model '{self._model_name}' is being replaced or unloaded; retry", retry_after_s=0.1)
        if level.policy.max_requests and level.requests >= level.policy.max_requests:
            raise self._overloaded("requests of this priority", level.policy.max_requests, level.requests)
        if self.rows:
            if self.rows + rows > policy.queue_rows:
                raise self._overloaded("rows", policy.queue_rows, self.rows)
            if self.message_bytes + size > policy.queue_bytes:
                raise self._overloaded("bytes", policy.queue_bytes, self.message_bytes, QueueBytesFull)

    def _check_time(
        self, level: _Level, bucket: Bucket, deadline_s: float, margin: float, coming_rows: int = 0
    ) -> None:
        """Raise where a request would probably be dropped when its turn comes. Has the lock.

        Never where nothing is before it, or what was true once would be held true for ever.
        """
        rows = self._rows_before(level, bucket) + coming_rows
        if deadline_s == math.inf or not rows:
            return
        now = self._clock()
        ready_in_s = rows * self._pace.row_s + self._run_times.needed_s(now)
        if now + ready_in_s * (1 + margin) > deadline_s:
            raise QueueTooLong(
                f"the queue of model '{self._model_name}' is too long for the deadline: an answer may take "
                f"{ready_in_s:.2f} s, and the caller waits for {max(0.0, deadline_s - now):.2f} s; retry later",
                retry_after_s=self._retry_after_s(),
            )

    def _rows_before(self, level: _Level, bucket: Bucket) -> int:
        """At least so many rows will be given out before a request that comes now."""
        if len(self._levels) == 1 and len(level.buckets) == 1:
            return self.rows if bucket in level.buckets else 0
        requests = 0
        kinds: set[Bucket] = set()
        for one in self._levels.values():
            requests += len(one.buckets.get(bucket, ()))
            kinds.update(one.buckets)
            if one is level:
                break
        # Buckets take turns, and this one's full batches come first.
        limit = self._policy.max_rows
        return requests // limit * limit * len(kinds)

    def _server_full(self, size: int) -> QueueBytesFull:
        return QueueBytesFull(
            f"the server's queues are full: at most {self._budget.limit_bytes} bytes may wait in all, "
            f"{self._budget.used_bytes} do and this request has {size}; retry later",
            retry_after_s=self._retry_after_s(),
        )

    def _overloaded(self, what: str, limit: int, waiting: int, kind: type[Overloaded] = Overloaded) -> Overloaded:
        return kind(
            f"the queue of model '{self._model_name}' is full: at most {limit} {what} may wait, {waiting} do; "
            "retry later",
            retry_after_s=self._retry_after_s(),
        )

    def _retry_after_s(self) -> float:
        """When about half of what waits now will have run, in hundredths, so that the same is said to many."""
        return max(_MIN_RETRY_AFTER_S, round(self.rows * self._seconds_per_row / 2, 2))

    def _account(self, rows: int, size: int) -> None:
        self.rows -= rows
        self.message_bytes -= size
        self._budget.give(size)

    def _cut(self, now: float, dropped: list[tuple[Job, ServerError]]) -> tuple[Batch | None, float | None]:
        """The next batch, or how long until one is due (None: until something changes, 0: look again). Has the lock."""
        due_in: float | None = None
        for level in self._levels.values():
            if not level.buckets and level.delayed:
                job = level.delayed.popleft()
                level.buckets[job.plan.bucket] = deque((job,))
            for bucket in list(level.buckets) if self._policy.max_delay_s else level.buckets:
                limit, closed_by, bucket_due_in = self._limit(bucket, level.buckets[bucket][0].arrived_s, now)
                if limit:
                    batch = self._collect(bucket, limit, closed_by, now, dropped)
                    return (batch, None) if batch.jobs else (None, 0.0)
                due_in = bucket_due_in if due_in is None else min(due_in, bucket_due_in)
        return None, due_in

    def _limit(self, bucket: Bucket, oldest_s: float, now: float) -> tuple[int, str, float]:
        """(rows to cut at, why, 0) for a bucket that is due, (0, "", seconds until it is due) for one that waits."""
        policy = self._policy
        if not policy.joins:
            return 1, "alone", 0.0
        limit = policy.max_rows
        if not policy.max_delay_s and not policy.preferred_rows:
            if self.rows <= limit:
                limit = policy.piece_rows
            if self._idle and not self._is_for_lane:
                # Other runners are free: leave them their share, since they would stand idle otherwise.
                share = -(-self.rows // (self._idle + 1))
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
        if due_in <= 0 or self._closed:
            return limit, "delay", 0.0
        return 0, "", due_in

    def _rows_up_to(self, limit: int, bucket: Bucket) -> int:
        """Rows of a bucket on all levels, for they join; counted no further than ``limit``."""
        rows = 0
        for level in self._levels.values():
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
        for level in self._levels.values():
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
                reason = drop_reason(job, now, ready_s, self._model_name, self._retry_after_s)
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
        self._account(removed_rows, removed_bytes)
        return Batch(jobs, rows, "drained" if closed_by == "full" and not full else closed_by)
