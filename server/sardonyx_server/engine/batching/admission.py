"""Which requests a queue lets in, and what those hear that it does not: too much waits, or for too long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.places import Places
from sardonyx_server.errors import ModelUnavailable, Overloaded, QueueBytesFull, QueueTooLong

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.budget import ByteBudget
    from sardonyx_server.engine.batching.pace import Pace
    from sardonyx_server.engine.batching.places import Place
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.batching.run_times import RunTimes
    from sardonyx_server.engine.batching.waiting import Level, Waiting
    from sardonyx_server.engine.requests.plan import Bucket, Plan

__all__ = ["Admission", "QueueClosed"]

_MIN_RETRY_AFTER_S: Final = 0.01
# A request is let in where the time until its answer, and this share of it, fit before its deadline: the server hears
# of a deadline late, and the answer has a way to go. The second is for requests whose message is still on its way.
_MARGIN: Final = 0.15
_MARGIN_OF_COMING: Final = 0.4


class QueueClosed(ModelUnavailable):
    """The model drains: look it up again, a newer version may have taken its place."""


class Admission:
    """Of one queue. Not thread-safe.

    Args:
        model_name: For messages.
        policy: How much may wait.
        budget: The server's bound of bytes, shared by all queues.
        waiting: What was let in.
        pace: How soon what waits will have been taken.
        run_times: What a batch takes.
        seconds_per_row: Measured cost, for the advice when to retry.
        clock: The queue's.
    """

    __slots__ = (
        "_budget",
        "_clock",
        "_model_name",
        "_pace",
        "_places",
        "_policy",
        "_run_times",
        "_seconds_per_row",
        "_waiting",
    )

    def __init__(
        self,
        model_name: str,
        policy: BatchPolicy,
        budget: ByteBudget,
        waiting: Waiting,
        *,
        pace: Pace,
        run_times: RunTimes,
        seconds_per_row: float,
        clock: Callable[[], float],
    ) -> None:
        self._model_name = model_name
        self._policy = policy
        self._budget = budget
        self._waiting = waiting
        self._pace = pace
        self._run_times = run_times
        self._seconds_per_row = seconds_per_row
        self._clock = clock
        self._places = Places()

    def admit(self, level: Level, bucket: Bucket, deadline_s: float, rows: int, size: int) -> None:
        """Let in a request that has come, and take its bytes from the budget.

        Args:
            level: Where it will wait.
            bucket: Likewise.
            deadline_s: When its caller gives up, on the queue's clock.
            rows: Of all its parts.
            size: Of its message in bytes.

        Raises:
            Overloaded: A bound is reached, or it would wait beyond its deadline; nothing was taken.
            QueueClosed: The model drains; likewise.
        """
        policy, waiting = self._policy, self._waiting
        # Where there is room for sure, nobody needs to say how much.
        if (
            waiting.closed
            or level.policy.max_requests
            or waiting.rows + rows > policy.queue_rows
            or waiting.message_bytes + size > policy.queue_bytes
        ):
            self._check_room(level, rows, size)
        if self._pace.row_s:
            self._check_time(level, bucket, deadline_s, _MARGIN)
        if not self._budget.take(size):
            raise self._server_full(size)

    def foresee(self, level: Level, plan: Plan, deadline_s: float, size: int) -> Place | None:
        """Raise as :meth:`admit` would for a request that is still on its way. Takes no bytes.

        Returns:
            A place that is kept for it, until :meth:`give_up`; None where there is room for all.
        """
        self._check_room(level, plan.rows, size)
        if not self._pace.row_s:
            return None
        now = self._clock()
        self._places.see_clock(now)
        self._check_time(level, plan.bucket, deadline_s, _MARGIN_OF_COMING, self._places.rows)
        return self._places.keep(plan.rows, now)

    def give_up(self, place: Place) -> None:
        """What a place was kept for has come, or will not come."""
        self._places.give_up(place)

    def retry_after_s(self) -> float:
        """When about half of what waits now will have run, in hundredths, so that the same is said to many."""
        return max(_MIN_RETRY_AFTER_S, round(self._waiting.rows * self._seconds_per_row / 2, 2))

    def _check_room(self, level: Level, rows: int, size: int) -> None:
        """Raise unless the request fits. A queue that is empty takes a request of any size: else it would never run."""
        policy, waiting = self._policy, self._waiting
        if waiting.closed:
            raise QueueClosed(f"model '{self._model_name}' is being replaced or unloaded; retry", retry_after_s=0.1)
        if level.policy.max_requests and level.requests >= level.policy.max_requests:
            raise self._overloaded("requests of this priority", level.policy.max_requests, level.requests)
        if waiting.rows:
            if waiting.rows + rows > policy.queue_rows:
                raise self._overloaded("rows", policy.queue_rows, waiting.rows)
            if waiting.message_bytes + size > policy.queue_bytes:
                raise self._overloaded("bytes", policy.queue_bytes, waiting.message_bytes, QueueBytesFull)

    def _check_time(self, level: Level, bucket: Bucket, deadline_s: float, margin: float, coming_rows: int = 0) -> None:
        """Raise where a request would probably be dropped when its turn comes.

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
                retry_after_s=self.retry_after_s(),
            )

    def _rows_before(self, level: Level, bucket: Bucket) -> int:
        """At least so many rows will be given out before a request that comes now."""
        levels = self._waiting.levels
        if len(levels) == 1 and len(level.buckets) == 1:
            return self._waiting.rows if bucket in level.buckets else 0
        requests = 0
        kinds: set[Bucket] = set()
        for one in levels.values():
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
            retry_after_s=self.retry_after_s(),
        )

    def _overloaded(self, what: str, limit: int, waiting: int, kind: type[Overloaded] = Overloaded) -> Overloaded:
        return kind(
            f"the queue of model '{self._model_name}' is full: at most {limit} {what} may wait, {waiting} do; "
            "retry later",
            retry_after_s=self.retry_after_s(),
        )
