"""Whom a queue lets in, and what the others hear. By a clock moved by hand."""

from __future__ import annotations

import math

import pytest

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.policy import BatchPolicy, QueuePolicy
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.errors import ModelUnavailable, Overloaded, QueueTimeout, QueueTooLong, ShuttingDown
from tests.server.engine.batching.queues import is_idle, put_all, take
from tests.server.engine.doubles import HandClock, QueuedRequests, call_of, policy, queue_of

MAKE = QueuedRequests()
TWO_LEVELS = {1: QueuePolicy(), 2: QueuePolicy()}


def busy_queue(clock: HandClock, batching: BatchPolicy | None = None) -> BatchQueue:
    """One whose runner has just taken the fifth of batches of a row that take a second each; ten rows wait."""
    queue = queue_of(batching or policy(max_rows=1, dynamic_batching=False), clock=clock)
    put_all(queue, [MAKE.job() for _ in range(15)])
    queue.wake()
    for _ in range(5):
        clock.now_s += 1.0
        assert queue.take(wait=True) is not None
    return queue


class TestQueueDelay:
    """Who would wait in vain hears it when it comes."""

    def test_a_request_that_would_wait_beyond_its_deadline_is_refused(self) -> None:
        """With a margin, for the answer has a way to go. The text says for how long it would have waited."""
        clock = HandClock()
        queue = busy_queue(clock)
        with pytest.raises(QueueTooLong) as caught:
            queue.put((MAKE.job(deadline_s=clock.now_s + 11.4),))
        assert caught.value.message == (
            "the queue of model 'm' is too long for the deadline: an answer may take 10.00 s, "
            "and the caller waits for 11.40 s; retry later"
        )
        assert caught.value.retry_after_s is not None
        assert queue.rows == 10
        queue.put((MAKE.job(deadline_s=clock.now_s + 11.6),))
        assert queue.rows == 11

    def test_the_run_itself_counts(self) -> None:
        """As it does when its turn comes."""
        clock = HandClock()
        queue = busy_queue(clock)
        queue.finish(2.0, 1)
        late = clock.now_s + 1.15 * (10.0 + 3.0)
        with pytest.raises(QueueTooLong):
            queue.put((MAKE.job(deadline_s=late - 0.1),))
        queue.put((MAKE.job(deadline_s=late + 0.1),))

    def test_who_has_no_deadline_is_not_refused(self) -> None:
        """It will wait."""
        queue = busy_queue(HandClock())
        put_all(queue, [MAKE.job()])
        assert queue.rows == 11

    def test_an_empty_queue_refuses_nobody(self) -> None:
        """However slow it was: what was true once would be held true for ever."""
        clock = HandClock()
        queue = busy_queue(clock)
        for _ in range(10):
            take(queue)
        assert queue.take(wait=False) is None
        soon = MAKE.job(deadline_s=clock.now_s + 0.001)
        queue.put((soon,))
        assert take(queue).jobs == [soon]

    def test_what_has_never_had_a_backlog_refuses_nobody(self) -> None:
        """Nobody knows how fast it is."""
        clock = HandClock()
        queue = queue_of(policy(max_rows=1, dynamic_batching=False), clock=clock)
        put_all(queue, [MAKE.job(deadline_s=clock.now_s + 0.001) for _ in range(100)])
        assert queue.rows == 100

    def test_inline_models_refuse_nobody(self) -> None:
        """What waits for them is the burst that is being read."""
        clock = HandClock()
        queue = queue_of(policy(max_rows=1, dynamic_batching=False), clock=clock)
        put_all(queue, [MAKE.job() for _ in range(15)])
        for _ in range(10):
            clock.now_s += 1.0
            take(queue)
        queue.put((MAKE.job(deadline_s=clock.now_s + 0.001),))
        assert queue.rows == 6

    def test_a_higher_priority_goes_before_what_waits_below(self) -> None:
        """So that is not in its way."""
        clock = HandClock()
        queue = busy_queue(clock, policy(max_rows=1, dynamic_batching=False, levels=TWO_LEVELS, default_level=2))
        soon = clock.now_s + 1.0
        with pytest.raises(QueueTooLong):
            queue.put((MAKE.job(priority=2, deadline_s=soon),))
        queue.put((MAKE.job(priority=1, deadline_s=soon),))
        assert take(queue).jobs[0].plan.priority == 1

    def test_another_kind_of_request_has_its_turn_soon(self) -> None:
        """Kinds that cannot share a run take turns, so what waits of the others is not all before it."""
        clock = HandClock()
        queue = busy_queue(clock)
        soon = clock.now_s + 1.0
        with pytest.raises(QueueTooLong):
            queue.put((MAKE.job(bucket=0, deadline_s=soon),))
        queue.put((MAKE.job(bucket=1, deadline_s=soon),))
        with pytest.raises(QueueTooLong):
            queue.put((MAKE.job(bucket=1, deadline_s=soon),))

    def test_a_request_on_its_way_is_refused_as_one_that_has_come(self) -> None:
        """With a larger margin, for its message has a way to go, too."""
        clock = HandClock()
        queue = busy_queue(clock)
        plan = MAKE.job().plan
        with pytest.raises(QueueTooLong):
            queue.reserve(plan, clock.now_s + 13.9, 10)
        assert queue.reserve(plan, clock.now_s + 14.1, 10) is not None
        assert (queue.rows, queue.message_bytes) == (10, 100)

    def test_a_request_on_its_way_has_its_place_until_it_has_come(self) -> None:
        """Others that are on their way find it taken; those that have come go before it."""
        clock = HandClock()
        queue = busy_queue(clock)
        plan, late = MAKE.job().plan, clock.now_s + 14.1
        reservation = queue.reserve(plan, late, 10)
        assert reservation is not None
        with pytest.raises(QueueTooLong):
            queue.reserve(plan, late, 10)
        queue.put((MAKE.job(deadline_s=clock.now_s + 11.6),))
        queue.take(wait=False)
        queue.release(reservation)
        assert queue.reserve(plan, late, 10) is not None

    def test_a_full_queue_refuses_what_is_on_its_way(self) -> None:
        """In the words of one that has come; and a queue that drains likewise."""
        queue = queue_of(policy(queue_rows=2))
        put_all(queue, [MAKE.job(), MAKE.job()])
        plan = MAKE.job().plan
        with pytest.raises(Overloaded, match="at most 2 rows may wait, 2 do"):
            queue.reserve(plan, math.inf, 10)
        queue.close()
        with pytest.raises(QueueClosed):
            queue.reserve(plan, math.inf, 10)


class TestBounds:
    """What is refused, and what is not."""

    def test_rows(self) -> None:
        """One row too many is refused, and says how many wait and when to come back."""
        queue = queue_of(policy(queue_rows=4), seconds_per_row=0.5)
        queue.put((MAKE.job(3),))
        queue.put((MAKE.job(1),))
        with pytest.raises(Overloaded) as refusal:
            queue.put((MAKE.job(1),))
        assert str(refusal.value) == "the queue of model 'm' is full: at most 4 rows may wait, 4 do; retry later"
        assert refusal.value.retry_after_s == 1.0
        assert refusal.value.reason == "OVERLOADED"
        take(queue)
        queue.put((MAKE.job(4),))

    def test_bytes(self) -> None:
        """Of the messages that wait."""
        queue = queue_of(policy(queue_bytes=100))
        queue.put((MAKE.job(size=60),))
        with pytest.raises(Overloaded) as refusal:
            queue.put((MAKE.job(size=41),))
        assert str(refusal.value) == "the queue of model 'm' is full: at most 100 bytes may wait, 60 do; retry later"
        queue.put((MAKE.job(size=40),))

    def test_the_budget_of_all_queues(self) -> None:
        """One model's requests can leave no room for another's; nothing is admitted halfway."""
        budget = ByteBudget(100)
        full, other = queue_of(budget=budget), queue_of(budget=budget)
        full.put((MAKE.job(size=90),))
        with pytest.raises(Overloaded) as refusal:
            other.put((MAKE.job(size=20),))
        assert str(refusal.value) == (
            "the server's queues are full: at most 100 bytes may wait in all, 90 do and this request has 20; retry "
            "later"
        )
        assert is_idle(other)
        take(full)
        other.put((MAKE.job(size=20),))
        assert budget.used_bytes == 20

    def test_what_is_empty_takes_any_size(self) -> None:
        """Or a large request would never run, however often it came back."""
        budget = ByteBudget(100)
        queue = queue_of(policy(queue_rows=1, queue_bytes=10), budget=budget)
        queue.put((MAKE.job(9, size=1000),))
        assert budget.used_bytes == 1000
        assert take(queue).rows == 9
        assert is_idle(queue, budget)

    def test_requests_of_a_level(self) -> None:
        """max_queue_size counts requests of one level."""
        queue = queue_of(policy(levels={1: QueuePolicy(max_requests=2), 2: QueuePolicy()}))
        put_all(queue, [MAKE.job(5), MAKE.job(5)])
        with pytest.raises(Overloaded) as refusal:
            queue.put((MAKE.job(),))
        assert str(refusal.value) == (
            "the queue of model 'm' is full: at most 2 requests of this priority may wait, 2 do; retry later"
        )
        queue.put((MAKE.job(priority=2),))
        take(queue)
        queue.put((MAKE.job(),))

    def test_a_queue_that_is_closed_refuses(self) -> None:
        """With an error that tells the intake to look the model up again."""
        queue = queue_of()
        queue.close()
        with pytest.raises(QueueClosed) as refusal:
            queue.put((MAKE.job(),))
        assert str(refusal.value) == "model 'm' is being replaced or unloaded; retry"
        assert isinstance(refusal.value, ModelUnavailable)
        assert refusal.value.retry_after_s == 0.1

    def test_what_was_admitted_before_comes_back_whatever_the_bounds(self) -> None:
        """Of rows, bytes, requests and the server's bytes, and where the model drains; its time goes on."""
        clock, budget = HandClock(), ByteBudget(30)
        levels = {1: QueuePolicy(max_requests=1, timeout_s=2.0)}
        queue = queue_of(policy(queue_rows=1, queue_bytes=10, levels=levels), clock=clock, budget=budget)
        queue.put((MAKE.job(),))
        queue.close()
        parts = [MAKE.job(8, size=0, requests=0), MAKE.job(3, size=40)]
        for part in parts:
            part.arrived_s = clock.now_s
        clock.now_s += 1.5
        queue.requeue(parts)
        assert (queue.rows, queue.message_bytes, queue.requests, budget.used_bytes) == (12, 50, 2, 50)
        clock.now_s += 1.0
        assert queue.take(wait=False) is None
        assert [type(call_of(part).error) for part in parts] == [QueueTimeout] * 2
        assert is_idle(queue, budget)

    def test_what_waits_when_time_is_over_is_refused_once(self) -> None:
        """On every level, the delayed ones too."""
        clock, budget = HandClock(), ByteBudget(1000)
        levels = {1: QueuePolicy(timeout_s=1.0, delay_on_timeout=True), 2: QueuePolicy()}
        queue = queue_of(policy(max_rows=1, levels=levels), clock=clock, budget=budget)
        jobs = [MAKE.job(), MAKE.job(), MAKE.job(bucket=1), MAKE.job(priority=2)]
        put_all(queue, jobs[:1])
        clock.now_s += 1.0
        put_all(queue, jobs[1:])
        assert take(queue).jobs == jobs[1:2]
        error = ShuttingDown("over")
        queue.close()
        queue.fail_pending(error)
        assert [call_of(job).errors for job in jobs] == [[error], [], [error], [error]]
        assert is_idle(queue, budget)
        assert queue.take(wait=True) is None
