"""The queue under any sequence of events: its accounts stay right, and every request leaves it exactly once."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.job import Job
from sardonyx_server.engine.batching.policy import QueuePolicy
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.errors import Cancelled, DeadlineExceeded, Overloaded, ShuttingDown
from tests.server.engine.doubles import HandClock, QueuedRequests, call_of, policy, queue_of

LEVELS = {
    1: QueuePolicy(timeout_s=2.0),
    2: QueuePolicy(timeout_s=1.0, delay_on_timeout=True, allow_timeout_override=True),
    3: QueuePolicy(max_requests=4),
}
MAX_ROWS = 4
QUEUE_ROWS = 20
QUEUE_BYTES = 200
BUDGET_BYTES = 250
POLICIES = {
    "greedy": policy(max_rows=MAX_ROWS, levels=LEVELS, default_level=2, queue_rows=QUEUE_ROWS, queue_bytes=QUEUE_BYTES),
    "delayed": policy(
        max_rows=MAX_ROWS,
        levels=LEVELS,
        default_level=2,
        queue_rows=QUEUE_ROWS,
        queue_bytes=QUEUE_BYTES,
        max_delay_s=0.5,
        preferred_rows=(2,),
    ),
    "lent": policy(
        max_rows=MAX_ROWS,
        lane_rows=3,
        levels=LEVELS,
        default_level=2,
        queue_rows=QUEUE_ROWS,
        queue_bytes=QUEUE_BYTES,
    ),
    "alone": policy(
        max_rows=MAX_ROWS,
        dynamic_batching=False,
        levels=LEVELS,
        default_level=2,
        queue_rows=QUEUE_ROWS,
        queue_bytes=QUEUE_BYTES,
    ),
}


class Queues(RuleBasedStateMachine):
    """Two queues that share a budget."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.budget = ByteBudget(BUDGET_BYTES)
        self.queues: list[BatchQueue] = []
        self.closed = [False, False]
        # Per queue: what was admitted and has not been seen to leave.
        self.inside: list[dict[Job, int]] = [{}, {}]
        self.refused: list[Job] = []
        self.given: set[Job] = set()
        self.make = QueuedRequests()

    @precondition(lambda self: not self.queues)
    @rule(first=st.sampled_from(sorted(POLICIES)), second=st.sampled_from(sorted(POLICIES)))
    def open(self, first: str, second: str) -> None:
        """Begin with empty queues."""
        self.queues = [queue_of(POLICIES[name], budget=self.budget, clock=self.clock) for name in (first, second)]

    @precondition(lambda self: self.queues)
    @rule(
        which=st.integers(0, 1),
        parts=st.lists(st.integers(1, MAX_ROWS), min_size=1, max_size=3),
        bucket=st.integers(0, 2),
        priority=st.integers(0, 4),
        timeout_s=st.sampled_from([math.inf, 0.25, 5.0]),
        deadline_in_s=st.sampled_from([math.inf, 0.5, 3.0]),
        size=st.integers(0, 120),
    )
    def put(
        self,
        which: int,
        parts: list[int],
        bucket: int,
        priority: int,
        timeout_s: float,
        deadline_in_s: float,
        size: int,
    ) -> None:
        """A request of one part or several: all of it is admitted, or nothing."""
        queue, inside = self.queues[which], self.inside[which]
        jobs = [
            self.make.job(
                rows,
                bucket=bucket,
                priority=priority,
                timeout_s=timeout_s,
                deadline_s=self.clock.now_s + deadline_in_s,
                size=size if index == len(parts) - 1 else 0,
                requests=int(index == len(parts) - 1),
            )
            for index, rows in enumerate(parts)
        ]
        level = priority if priority in LEVELS else 2
        waiting = sum(job.requests for job, number in inside.items() if number == level)
        rows, held = sum(job.rows for job in inside), sum(job.message_bytes for job in inside)
        fits = (
            not (level == 3 and waiting >= 4)
            and (not rows or (rows + sum(parts) <= QUEUE_ROWS and held + size <= QUEUE_BYTES))
            and (not self.budget.used_bytes or self.budget.used_bytes + size <= BUDGET_BYTES)
        )
        try:
            queue.put(jobs)
        except QueueClosed:
            assert self.closed[which]
            self.refused += jobs
        except Overloaded:
            assert not fits
            self.refused += jobs
        else:
            assert fits
            assert not self.closed[which]
            inside.update(dict.fromkeys(jobs, level))

    @precondition(lambda self: self.queues)
    @rule(which=st.integers(0, 1), idle=st.integers(0, 2))
    def take(self, which: int, idle: int) -> None:
        """A batch is of one form, no larger than it may be, and holds nobody who has gone."""
        queue, inside = self.queues[which], self.inside[which]
        queue._idle_count = idle
        batch = queue.take(wait=False)
        queue._idle_count = 0
        if batch is None:
            assert queue._policy.max_delay_s or not queue.rows
            return
        assert batch.jobs
        assert batch.rows == sum(job.rows for job in batch.jobs)
        assert batch.rows <= MAX_ROWS or len(batch.jobs) == 1
        assert len(batch.jobs) == 1 or queue._policy.dynamic_batching
        assert len({id(job.plan.bucket) for job in batch.jobs}) == 1
        order = [inside.pop(job) for job in batch.jobs]
        assert order == sorted(order)
        for job in batch.jobs:
            assert job not in self.given
            assert not job.call.cancelled
            assert job.deadline_s > self.clock.now_s
            assert job.expires_s > self.clock.now_s
            assert call_of(job).answers == 0
            self.given.add(job)

    @precondition(lambda self: any(self.inside))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A caller goes away."""
        job = data.draw(st.sampled_from([job for inside in self.inside for job in inside]))
        call_of(job).cancelled = True

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.5]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now_s += seconds

    @precondition(lambda self: self.queues)
    @rule(which=st.integers(0, 1))
    def close(self, which: int) -> None:
        """A model drains."""
        self.queues[which].close()
        self.closed[which] = True

    @precondition(lambda self: self.queues)
    @rule(which=st.integers(0, 1))
    def fail_pending(self, which: int) -> None:
        """The time for draining is over."""
        error = ShuttingDown("over")
        self.queues[which].fail_pending(error)
        for job in self.inside[which]:
            if error not in call_of(job).errors:
                assert self._was_dropped(job)
        self.inside[which].clear()

    def _was_dropped(self, job: Job) -> bool:
        """Whether the queue refused it for a reason that holds."""
        error = call_of(job).error
        return (
            (isinstance(error, Cancelled) and job.call.cancelled)
            or (isinstance(error, DeadlineExceeded) and job.deadline_s <= self.clock.now_s)
            or (isinstance(error, Overloaded) and job.expires_s <= self.clock.now_s)
        )

    @invariant()
    def accounts_are_right(self) -> None:
        """Rows, bytes and requests are those of the requests inside, and the budget is their sum."""
        for queue, inside in zip(self.queues, self.inside, strict=False):
            for job in [job for job in inside if call_of(job).answers]:
                assert self._was_dropped(job)
                del inside[job]
            assert queue.rows == sum(job.rows for job in inside)
            assert queue.message_bytes == sum(job.message_bytes for job in inside)
            held = []
            for number, level in queue._pending.levels.items():
                assert level.requests == sum(job.requests for job, each in inside.items() if each == number)
                assert all(level.buckets.values())
                held += [job for waiting in level.buckets.values() for job in waiting] + list(level.delayed)
            assert sorted(map(id, held)) == sorted(map(id, inside))
        assert self.budget.used_bytes == sum(job.message_bytes for inside in self.inside for job in inside)

    @invariant()
    def what_was_given_out_or_refused_is_not_answered_by_the_queue(self) -> None:
        """That is for whoever has it now."""
        assert not any(call_of(job).answers for job in self.given)
        assert not any(call_of(job).answers for job in self.refused)

    def teardown(self) -> None:
        """After all, everything is given out and nothing is accounted for."""
        for which, queue in enumerate(self.queues):
            queue.close()
            while queue.rows:
                self.take(which, 0)
                self.accounts_are_right()
            assert queue.take(wait=True) is None
        assert self.budget.used_bytes == 0
        assert not any(self.inside)


TestQueues = Queues.TestCase
TestQueues.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
