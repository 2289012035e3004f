"""Admission control: accepts requests into a queue, or refuses what would exceed a bound or its deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.reservations import Reservations
from sardonyx_server.errors import ModelUnavailable, Overloaded, QueueBytesFull, QueueTooLong

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.byte_budget import ByteBudget
    from sardonyx_server.engine.batching.pending import PendingJobs, PriorityLevel
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.batching.reservations import Reservation
    from sardonyx_server.engine.batching.run_times import RunTimes
    from sardonyx_server.engine.batching.service_rate import ServiceRate
    from sardonyx_server.engine.requests.plan import Bucket, Plan

__all__ = ["Admission", "QueueClosed"]

_MIN_RETRY_AFTER_S: Final = 0.01
# Safety margin, as a share of the estimated time until the answer: the server learns of a deadline late, and the answer
# must still reach the caller. The second one is for requests whose message is still being received.
_MARGIN: Final = 0.15
_RESERVATION_MARGIN: Final = 0.4


class QueueClosed(ModelUnavailable):
    """The model is draining. Look it up again: a newer version may have replaced it."""


class Admission:
    """Admission control of one queue. Not thread-safe.

    Args:
        model_name: For messages.
        policy: How much may wait.
        budget: Limit on bytes, shared by all queues of the server.
        pending: The jobs of the queue.
        service_rate: How soon the jobs ahead of a request will have left the queue.
        run_times: Estimate of the time of one run.
        seconds_per_row: Measured at load; used for the retry delay.
        clock: The queue's.
    """

    __slots__ = (
        "_budget",
        "_clock",
        "_model_name",
        "_pending",
        "_policy",
        "_reservations",
        "_run_times",
        "_seconds_per_row",
        "_service_rate",
    )

    def __init__(
        self,
        model_name: str,
        policy: BatchPolicy,
        budget: ByteBudget,
        pending: PendingJobs,
        *,
        service_rate: ServiceRate,
        run_times: RunTimes,
        seconds_per_row: float,
        clock: Callable[[], float],
    ) -> None:
        self._model_name = model_name
        self._policy = policy
        self._budget = budget
        self._pending = pending
        self._service_rate = service_rate
        self._run_times = run_times
        self._seconds_per_row = seconds_per_row
        self._clock = clock
        self._reservations = Reservations()

    def admit(self, level: PriorityLevel, bucket: Bucket, deadline_s: float, rows: int, size: int) -> None:
        """Admit a request that has arrived, and reserve its bytes.

        Args:
            level: Its priority level.
            bucket: Its bucket.
            deadline_s: Its deadline, on the queue's clock.
            rows: Total rows of all its parts.
            size: Size of its message in bytes.

        Raises:
            Overloaded: A bound is reached, or the answer would come after the deadline. Nothing was reserved.
            QueueClosed: The model is draining. Nothing was reserved.
        """
        policy, pending = self._policy, self._pending
        # Fast path: skip the detailed check while clearly below all bounds.
        if (
            pending.closed
            or level.policy.max_requests
            or pending.rows + rows > policy.queue_rows
            or pending.message_bytes + size > policy.queue_bytes
        ):
            self._check_bounds(level, rows, size)
        if self._service_rate.row_s:
            self._check_deadline(level, bucket, deadline_s, _MARGIN)
        if not self._budget.try_reserve(size):
            raise self._server_full(size)

    def reserve(self, level: PriorityLevel, plan: Plan, deadline_s: float, size: int) -> Reservation | None:
        """Check a request whose message is still being received, and reserve a slot for it. Reserves no bytes.

        Returns:
            The slot, to be given to :meth:`release`; None while there is no backlog, when no slot is needed.

        Raises:
            Overloaded: As :meth:`admit`.
            QueueClosed: As :meth:`admit`.
        """
        self._check_bounds(level, plan.rows, size)
        if not self._service_rate.row_s:
            return None
        now = self._clock()
        self._reservations.expire(now)
        self._check_deadline(level, plan.bucket, deadline_s, _RESERVATION_MARGIN, self._reservations.rows)
        return self._reservations.reserve(plan.rows, now)

    def release(self, reservation: Reservation) -> None:
        """Release a slot: its request has arrived or will not arrive."""
        self._reservations.release(reservation)

    def retry_after_s(self) -> float:
        """Time until about half of the queue will have run, in steps of 10 ms so that messages repeat."""
        return max(_MIN_RETRY_AFTER_S, round(self._pending.rows * self._seconds_per_row / 2, 2))

    def _check_bounds(self, level: PriorityLevel, rows: int, size: int) -> None:
        """Raise unless the request fits. An empty queue accepts any size: such a request could never run otherwise."""
        policy, pending = self._policy, self._pending
        if pending.closed:
            raise QueueClosed(f"model '{self._model_name}' is being replaced or unloaded; retry", retry_after_s=0.1)
        if level.policy.max_requests and level.requests >= level.policy.max_requests:
            raise self._overloaded("requests of this priority", level.policy.max_requests, level.requests)
        if pending.rows:
            if pending.rows + rows > policy.queue_rows:
                raise self._overloaded("rows", policy.queue_rows, pending.rows)
            if pending.message_bytes + size > policy.queue_bytes:
                raise self._overloaded("bytes", policy.queue_bytes, pending.message_bytes, QueueBytesFull)

    def _check_deadline(
        self, level: PriorityLevel, bucket: Bucket, deadline_s: float, margin: float, reserved_rows: int = 0
    ) -> None:
        """Raise if the queue delay is likely to exceed the deadline, so that the request would be dropped later.

        Never raises when nothing is ahead of the request. Otherwise an outdated estimate would refuse all requests and
        never be corrected.
        """
        rows = self._rows_ahead(level, bucket) + reserved_rows
        if deadline_s == math.inf or not rows:
            return
        now = self._clock()
        ready_in_s = rows * self._service_rate.row_s + self._run_times.estimate_s(now)
        if now + ready_in_s * (1 + margin) > deadline_s:
            raise QueueTooLong(
                f"the queue of model '{self._model_name}' is too long for the deadline: an answer may take "
                f"{ready_in_s:.2f} s, and the caller waits for {max(0.0, deadline_s - now):.2f} s; retry later",
                retry_after_s=self.retry_after_s(),
            )

    def _rows_ahead(self, level: PriorityLevel, bucket: Bucket) -> int:
        """Return a lower bound of the rows that leave the queue before a request that arrives now."""
        levels = self._pending.levels
        if len(levels) == 1 and len(level.buckets) == 1:
            return self._pending.rows if bucket in level.buckets else 0
        requests = 0
        buckets: set[Bucket] = set()
        for one in levels.values():
            requests += len(one.buckets.get(bucket, ()))
            buckets.update(one.buckets)
            if one is level:
                break
        # Buckets are served round-robin, so each of them takes as many turns as this one's full batches.
        limit = self._policy.max_rows
        return requests // limit * limit * len(buckets)

    def _server_full(self, size: int) -> QueueBytesFull:
        return QueueBytesFull(
            f"the server's queues are full: at most {self._budget.limit_bytes} bytes may wait in all, "
            f"{self._budget.used_bytes} do and this request has {size}; retry later",
            retry_after_s=self.retry_after_s(),
        )

    def _overloaded(self, what: str, limit: int, pending: int, kind: type[Overloaded] = Overloaded) -> Overloaded:
        return kind(
            f"the queue of model '{self._model_name}' is full: at most {limit} {what} may wait, {pending} do; "
            "retry later",
            retry_after_s=self.retry_after_s(),
        )
