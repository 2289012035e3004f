"""What the queue of one model admits, joins, drops and gives out. By a clock moved by hand."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import pytest

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.budget import ByteBudget
from sardonyx_server.engine.batching.job import Job
from sardonyx_server.engine.batching.policy import BatchPolicy, LevelPolicy
from sardonyx_server.engine.batching.queue import BatchQueue, QueueClosed
from sardonyx_server.engine.batching.under_way import ONE_BY_ONE
from sardonyx_server.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelUnavailable,
    Overloaded,
    QueueTimeout,
    QueueTooLong,
    ShuttingDown,
)
from tests.server.engine.doubles import (
    PATIENCE_S,
    BrokenCall,
    HandClock,
    QueuedRequests,
    call_of,
    policy,
    queue_of,
)

MAKE = QueuedRequests()
TWO_LEVELS = {1: LevelPolicy(), 2: LevelPolicy()}


def put_all(queue: BatchQueue, jobs: Sequence[Job]) -> None:
    """Admit jobs one by one."""
    for job in jobs:
        queue.put((job,))


def take(queue: BatchQueue) -> Batch:
    """The batch that is there."""
    batch = queue.take(wait=False)
    assert batch is not None
    return batch


def is_idle(queue: BatchQueue, budget: ByteBudget | None = None) -> bool:
    """Whether nothing waits and nothing is accounted for."""
    levels = all(not level.requests and not level.buckets and not level.delayed for level in queue._levels.values())
    return levels and not queue.rows and not queue.message_bytes and not (budget and budget.used_bytes)


class TestJoining:
    """Greedy: all that waits and fits."""

    def test_all_that_waits_is_taken_at_once_in_order(self) -> None:
        """A batch is what has come together, no matter how long ago."""
        queue, jobs = queue_of(), [MAKE.job() for _ in range(5)]
        put_all(queue, jobs)
        batch = take(queue)
        assert batch.jobs == jobs
        assert (batch.rows, batch.closed_by) == (5, "drained")
        assert queue.take(wait=False) is None

    def test_rows_are_counted_and_not_requests(self) -> None:
        """3 + 4 rows fit into 8, one more request of 2 does not."""
        queue, jobs = queue_of(policy(max_rows=8)), [MAKE.job(3), MAKE.job(4), MAKE.job(2)]
        put_all(queue, jobs)
        assert take(queue).jobs == jobs[:2]
        assert take(queue).jobs == jobs[2:]

    def test_a_batch_that_is_cut_short_by_a_large_request_is_full(self) -> None:
        """What follows does not overtake the request that did not fit."""
        queue, jobs = queue_of(policy(max_rows=8)), [MAKE.job(3), MAKE.job(6), MAKE.job(1)]
        put_all(queue, jobs)
        first = take(queue)
        assert (first.jobs, first.closed_by) == ([jobs[0]], "full")
        assert take(queue).jobs == jobs[1:]

    def test_exactly_the_maximum_is_full(self) -> None:
        """8 of 8 rows, and nothing is left."""
        queue = queue_of(policy(max_rows=8))
        put_all(queue, [MAKE.job(4), MAKE.job(4)])
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (8, "full")
        assert is_idle(queue)

    def test_a_request_larger_than_a_batch_is_taken_alone(self) -> None:
        """Whoever put it in knows that it fits the model."""
        queue, jobs = queue_of(policy(max_rows=4)), [MAKE.job(9), MAKE.job(1)]
        put_all(queue, jobs)
        assert take(queue).jobs == jobs[:1]

    def test_requests_of_a_model_that_does_not_join_run_alone(self) -> None:
        """One run each, in order."""
        queue, jobs = queue_of(policy(joins=False)), [MAKE.job(), MAKE.job()]
        put_all(queue, jobs)
        batch = take(queue)
        assert (batch.jobs, batch.closed_by) == (jobs[:1], "alone")
        assert take(queue).jobs == jobs[1:]

    def test_an_empty_queue_gives_nothing(self) -> None:
        """And does not block where it is not asked to."""
        assert queue_of().take(wait=False) is None


class TestBuckets:
    """Requests whose dimensions differ behind the batch axis."""

    def test_they_do_not_join(self) -> None:
        """Each kind gets a run of its own, with all of its requests."""
        queue = queue_of()
        wide, narrow = [MAKE.job(bucket=0) for _ in range(3)], [MAKE.job(bucket=1) for _ in range(2)]
        put_all(queue, [wide[0], narrow[0], wide[1], narrow[1], wide[2]])
        assert take(queue).jobs == wide
        assert take(queue).jobs == narrow
        assert is_idle(queue)

    def test_none_starves_behind_one_that_never_empties(self) -> None:
        """A kind that was cut short goes behind the others."""
        queue = queue_of(policy(max_rows=2))
        put_all(queue, [MAKE.job(bucket=0) for _ in range(10)])
        rare = MAKE.job(bucket=1)
        queue.put((rare,))
        seen = []
        for _ in range(3):
            seen.append(take(queue).jobs)
            queue.put((MAKE.job(bucket=0),))
        assert [rare] in seen[:2]

    def test_one_that_waits_for_its_delay_does_not_hold_up_one_that_is_full(self) -> None:
        """Being due is a matter of each kind."""
        queue = queue_of(policy(max_rows=2, max_delay_s=1.0))
        waiting, full = MAKE.job(bucket=0), [MAKE.job(bucket=1), MAKE.job(bucket=1)]
        put_all(queue, [waiting, *full])
        assert take(queue).jobs == full
        assert queue.take(wait=False) is None


class TestDelay:
    """max_queue_delay and preferred_batch_size."""

    def test_a_small_batch_waits_for_more_until_the_oldest_has_waited_long_enough(self) -> None:
        """Counted from the arrival of the first, to the microsecond."""
        clock = HandClock()
        queue = queue_of(policy(max_delay_s=0.5), clock=clock)
        queue.put((MAKE.job(),))
        clock.now_s += 0.25
        queue.put((MAKE.job(),))
        assert queue.take(wait=False) is None
        clock.now_s += 0.25
        batch = take(queue)
        assert (len(batch.jobs), batch.closed_by) == (2, "delay")

    def test_a_full_batch_does_not_wait(self) -> None:
        """There is nothing to wait for."""
        queue = queue_of(policy(max_rows=2, max_delay_s=0.5))
        put_all(queue, [MAKE.job(), MAKE.job(), MAKE.job()])
        assert take(queue).closed_by == "full"
        assert queue.take(wait=False) is None

    def test_a_preferred_size_is_cut_at_once(self) -> None:
        """The largest that is reached; the rest waits on."""
        queue = queue_of(policy(max_rows=8, max_delay_s=0.5, preferred_rows=(2, 4)))
        put_all(queue, [MAKE.job() for _ in range(5)])
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (4, "preferred")
        assert queue.take(wait=False) is None

    def test_below_the_preferred_size_a_batch_goes_out_after_the_delay(self) -> None:
        """A preference is no condition."""
        clock = HandClock()
        queue = queue_of(policy(max_delay_s=0.5, preferred_rows=(4,)), clock=clock)
        put_all(queue, [MAKE.job(), MAKE.job()])
        clock.now_s += 0.5
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (2, "delay")

    def test_a_preference_without_a_delay_does_not_wait(self) -> None:
        """Whatever is there runs; it was drained, for no delay was over."""
        queue = queue_of(policy(preferred_rows=(4,)))
        put_all(queue, [MAKE.job(), MAKE.job()])
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (2, "drained")

    def test_rows_of_all_priorities_count_for_the_size_for_they_join(self) -> None:
        """One urgent and one common request make a preferred two."""
        queue = queue_of(policy(max_delay_s=0.5, preferred_rows=(2,), levels=TWO_LEVELS))
        put_all(queue, [MAKE.job(priority=2), MAKE.job(priority=1)])
        assert take(queue).closed_by == "preferred"

    def test_a_queue_that_closes_gives_out_what_waits_without_delay(self) -> None:
        """Draining does not wait for requests that cannot come."""
        queue = queue_of(policy(max_delay_s=3600.0))
        queue.put((MAKE.job(),))
        assert queue.take(wait=False) is None
        queue.close()
        assert take(queue).rows == 1


class TestPriorities:
    """Levels, 1 the highest."""

    def test_the_higher_level_goes_first(self) -> None:
        """However late it came."""
        queue = queue_of(policy(max_rows=1, levels=TWO_LEVELS, default_level=2))
        late, early = MAKE.job(priority=1), MAKE.job(priority=2)
        put_all(queue, [early, late])
        assert [take(queue).jobs, take(queue).jobs] == [[late], [early]]

    def test_levels_share_a_run_where_there_is_room(self) -> None:
        """The urgent ones first, then the others of the same form."""
        queue = queue_of(policy(max_rows=3, levels=TWO_LEVELS))
        common, urgent = [MAKE.job(priority=2) for _ in range(3)], MAKE.job(priority=1)
        put_all(queue, [*common, urgent])
        assert take(queue).jobs == [urgent, *common[:2]]
        assert take(queue).jobs == common[2:]

    @pytest.mark.parametrize("priority", [0, 3, 2**64 - 1])
    def test_no_priority_or_one_there_is_not_is_the_default(self, priority: int) -> None:
        """As Triton does it."""
        queue = queue_of(policy(max_rows=1, levels=TWO_LEVELS, default_level=2))
        default, urgent = MAKE.job(priority=priority), MAKE.job(priority=1)
        put_all(queue, [default, urgent])
        assert [take(queue).jobs, take(queue).jobs] == [[urgent], [default]]


class TestTimeouts:
    """Queue policies; expired requests never run."""

    def test_a_request_past_its_timeout_is_refused(self) -> None:
        """With a reason of its own, and advice."""
        clock = HandClock()
        queue = queue_of(policy(levels={1: LevelPolicy(timeout_s=0.5)}), clock=clock)
        late, fresh = MAKE.job(), MAKE.job()
        queue.put((late,))
        clock.now_s += 0.5
        queue.put((fresh,))
        assert take(queue).jobs == [fresh]
        error = call_of(late).error
        assert isinstance(error, Overloaded)
        assert error.reason == "QUEUE_TIMEOUT"
        assert error.message == (
            "the request waited 0.500 s in the queue of model 'm', longer than its queue policy allows; the model did "
            "not run"
        )
        assert error.retry_after_s == 0.01
        assert is_idle(queue)

    def test_a_request_past_its_timeout_goes_behind_all_others_where_the_policy_delays(self) -> None:
        """It still runs, alone, when nothing else waits on its level; only once is it put back."""
        clock = HandClock()
        levels = {1: LevelPolicy(timeout_s=0.5, delay_on_timeout=True)}
        queue = queue_of(policy(max_rows=1, levels=levels), clock=clock)
        late, fresh = MAKE.job(), MAKE.job()
        queue.put((late,))
        clock.now_s += 0.5
        queue.put((fresh,))
        assert take(queue).jobs == [fresh]
        clock.now_s += 3600.0
        assert take(queue).jobs == [late]
        assert call_of(late).answers == 0
        assert is_idle(queue)

    def test_where_all_are_past_their_timeout_the_delayed_ones_run_at_once(self) -> None:
        """Nothing else waits: nobody has to come first for them to be looked at again."""
        clock = HandClock()
        queue = queue_of(policy(levels={1: LevelPolicy(timeout_s=0.5, delay_on_timeout=True)}), clock=clock)
        jobs = [MAKE.job(), MAKE.job()]
        put_all(queue, jobs)
        clock.now_s += 1.0
        assert take(queue).jobs + take(queue).jobs == jobs
        assert is_idle(queue)

    def test_a_delayed_request_still_heeds_its_deadline(self) -> None:
        """The caller's own time is another matter than the policy's."""
        clock = HandClock()
        levels = {1: LevelPolicy(timeout_s=0.5, delay_on_timeout=True)}
        queue = queue_of(policy(max_rows=1, levels=levels), clock=clock)
        late, fresh = MAKE.job(deadline_s=clock.now_s + 1.0), MAKE.job()
        put_all(queue, [late, fresh])
        clock.now_s += 0.5
        fresh.expires_s = math.inf
        assert take(queue).jobs == [fresh]
        clock.now_s += 0.5
        assert queue.take(wait=False) is None
        assert isinstance(call_of(late).error, DeadlineExceeded)
        assert is_idle(queue)

    def test_a_callers_timeout_counts_where_the_policy_allows_it(self) -> None:
        """It shortens the wait and does not lengthen it."""
        clock = HandClock()
        queue = queue_of(policy(levels={1: LevelPolicy(timeout_s=1.0, allow_timeout_override=True)}), clock=clock)
        jobs = [MAKE.job(timeout_s=0.5), MAKE.job(timeout_s=5.0)]
        put_all(queue, jobs)
        clock.now_s += 0.5
        assert take(queue).jobs == jobs[1:]
        queue.put((jobs[1],))
        clock.now_s += 1.0
        assert queue.take(wait=False) is None
        assert [call_of(job).answers for job in jobs] == [1, 1]

    def test_a_callers_timeout_does_not_count_otherwise(self) -> None:
        """It is the operator who allows it."""
        clock = HandClock()
        queue = queue_of(clock=clock)
        job = MAKE.job(timeout_s=0.5)
        queue.put((job,))
        clock.now_s += 100.0
        assert take(queue).jobs == [job]


def busy_queue(clock: HandClock, batching: BatchPolicy | None = None) -> BatchQueue:
    """One whose runner has just taken the fifth of batches of a row that take a second each; ten rows wait."""
    queue = queue_of(batching or policy(max_rows=1, joins=False), clock=clock)
    put_all(queue, [MAKE.job() for _ in range(15)])
    queue.wake()
    for _ in range(5):
        clock.now_s += 1.0
        assert queue.take(wait=True) is not None
    return queue


class TestForesight:
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
        queue.took(2.0)
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
        queue = queue_of(policy(max_rows=1, joins=False), clock=clock)
        put_all(queue, [MAKE.job(deadline_s=clock.now_s + 0.001) for _ in range(100)])
        assert queue.rows == 100

    def test_inline_models_refuse_nobody(self) -> None:
        """What waits for them is the burst that is being read."""
        clock = HandClock()
        queue = queue_of(policy(max_rows=1, joins=False), clock=clock)
        put_all(queue, [MAKE.job() for _ in range(15)])
        for _ in range(10):
            clock.now_s += 1.0
            take(queue)
        queue.put((MAKE.job(deadline_s=clock.now_s + 0.001),))
        assert queue.rows == 6

    def test_a_higher_priority_goes_before_what_waits_below(self) -> None:
        """So that is not in its way."""
        clock = HandClock()
        queue = busy_queue(clock, policy(max_rows=1, joins=False, levels=TWO_LEVELS, default_level=2))
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
            queue.foresee(plan, clock.now_s + 13.9, 10)
        assert queue.foresee(plan, clock.now_s + 14.1, 10) is not None
        assert (queue.rows, queue.message_bytes) == (10, 100)

    def test_a_request_on_its_way_has_its_place_until_it_has_come(self) -> None:
        """Others that are on their way find it taken; those that have come go before it."""
        clock = HandClock()
        queue = busy_queue(clock)
        plan, late = MAKE.job().plan, clock.now_s + 14.1
        place = queue.foresee(plan, late, 10)
        assert place is not None
        with pytest.raises(QueueTooLong):
            queue.foresee(plan, late, 10)
        queue.put((MAKE.job(deadline_s=clock.now_s + 11.6),))
        queue.take(wait=False)
        queue.give_up(place)
        assert queue.foresee(plan, late, 10) is not None

    def test_a_full_queue_refuses_what_is_on_its_way(self) -> None:
        """In the words of one that has come; and a queue that drains likewise."""
        queue = queue_of(policy(queue_rows=2))
        put_all(queue, [MAKE.job(), MAKE.job()])
        plan = MAKE.job().plan
        with pytest.raises(Overloaded, match="at most 2 rows may wait, 2 do"):
            queue.foresee(plan, math.inf, 10)
        queue.close()
        with pytest.raises(QueueClosed):
            queue.foresee(plan, math.inf, 10)


class TestDropping:
    """Who nobody waits for never runs."""

    def test_a_request_that_cannot_be_ready_by_its_deadline_does_not_run(self) -> None:
        """Its caller would be gone; the next one may be served in that time."""
        clock = HandClock()
        queue = queue_of(clock=clock)
        queue.took(1.0)
        vain, good = MAKE.job(deadline_s=clock.now_s + 1.25), MAKE.job(deadline_s=clock.now_s + 2.0)
        put_all(queue, [vain, good])
        clock.now_s += 0.25
        assert take(queue).jobs == [good]
        error = call_of(vain).error
        assert isinstance(error, DeadlineExceeded)
        assert error.message == (
            "after 0.250 s in the queue of model 'm' the deadline is in 1.000 s and a run may take 1.500 s; "
            "the model did not run"
        )
        assert is_idle(queue)

    def test_a_request_past_its_deadline_does_not_run(self) -> None:
        """It gets DEADLINE_EXCEEDED; the others of its batch run."""
        clock = HandClock()
        queue = queue_of(clock=clock)
        late, fresh = MAKE.job(deadline_s=clock.now_s + 0.25), MAKE.job()
        put_all(queue, [late, fresh])
        clock.now_s += 0.25
        assert take(queue).jobs == [fresh]
        error = call_of(late).error
        assert isinstance(error, DeadlineExceeded)
        assert error.message == ("the deadline passed after 0.250 s in the queue of model 'm'; the model did not run")

    def test_a_cancelled_request_does_not_run(self) -> None:
        """And does not hang its batch."""
        queue, jobs = queue_of(), [MAKE.job(), MAKE.job(), MAKE.job()]
        put_all(queue, jobs)
        call_of(jobs[1]).cancelled = True
        assert take(queue).jobs == [jobs[0], jobs[2]]
        error = call_of(jobs[1]).error
        assert isinstance(error, Cancelled)
        assert error.message == "the caller cancelled the request before it ran"

    def test_dropped_rows_leave_room_for_others(self) -> None:
        """A batch is filled with requests that run."""
        queue, jobs = queue_of(policy(max_rows=2)), [MAKE.job() for _ in range(4)]
        put_all(queue, jobs)
        call_of(jobs[0]).cancelled = call_of(jobs[1]).cancelled = True
        assert take(queue).jobs == jobs[2:]

    def test_where_all_are_dropped_there_is_no_batch(self) -> None:
        """They are answered, and accounted for."""
        budget = ByteBudget(100)
        queue, jobs = queue_of(budget=budget), [MAKE.job(), MAKE.job()]
        put_all(queue, jobs)
        for job in jobs:
            call_of(job).cancelled = True
        assert queue.take(wait=False) is None
        assert [call_of(job).answers for job in jobs] == [1, 1]
        assert is_idle(queue, budget)

    def test_a_call_that_cannot_be_told_costs_nobody_else(self) -> None:
        """The transport raised: the batch is given out all the same."""
        queue, gone, fresh = queue_of(), MAKE.job(), MAKE.job()
        gone.call = BrokenCall()
        gone.call.cancelled = True
        put_all(queue, [gone, fresh])
        assert take(queue).jobs == [fresh]


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
        queue = queue_of(policy(levels={1: LevelPolicy(max_requests=2), 2: LevelPolicy()}))
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
        levels = {1: LevelPolicy(max_requests=1, timeout_s=2.0)}
        queue = queue_of(policy(queue_rows=1, queue_bytes=10, levels=levels), clock=clock, budget=budget)
        queue.put((MAKE.job(),))
        queue.close()
        parts = [MAKE.job(8, size=0, requests=0), MAKE.job(3, size=40)]
        for part in parts:
            part.arrived_s = clock.now_s
        clock.now_s += 1.5
        queue.put_back(parts)
        assert (queue.rows, queue.message_bytes, queue.requests, budget.used_bytes) == (12, 50, 2, 50)
        clock.now_s += 1.0
        assert queue.take(wait=False) is None
        assert [type(call_of(part).error) for part in parts] == [QueueTimeout] * 2
        assert is_idle(queue, budget)

    def test_what_waits_when_time_is_over_is_refused_once(self) -> None:
        """On every level, the delayed ones too."""
        clock, budget = HandClock(), ByteBudget(1000)
        levels = {1: LevelPolicy(timeout_s=1.0, delay_on_timeout=True), 2: LevelPolicy()}
        queue = queue_of(policy(max_rows=1, levels=levels), clock=clock, budget=budget)
        jobs = [MAKE.job(), MAKE.job(), MAKE.job(bucket=1), MAKE.job(priority=2)]
        put_all(queue, jobs[:1])
        clock.now_s += 1.0
        put_all(queue, jobs[1:])
        assert take(queue).jobs == jobs[1:2]
        error = ShuttingDown("over")
        queue.close()
        queue.refuse_waiting(error)
        assert [call_of(job).errors for job in jobs] == [[error], [], [error], [error]]
        assert is_idle(queue, budget)
        assert queue.take(wait=True) is None


class Runner(threading.Thread):
    """Takes batches until there are no more."""

    def __init__(self, queue: BatchQueue, go_on: threading.Semaphore | None = None) -> None:
        super().__init__(daemon=True)
        self.batches: list[Batch] = []
        self._queue = queue
        self._go_on = go_on

    def run(self) -> None:
        """Each batch takes as long as the test lets it."""
        while (batch := self._queue.take(wait=True)) is not None:
            self.batches.append(batch)
            for job in batch.jobs:
                job.call.reply(b"")
            if self._go_on is not None:
                self._go_on.acquire(timeout=PATIENCE_S)


def until_idle(queue: BatchQueue, runners: int) -> None:
    """Let so many takers reach their wait."""
    deadline = threading.Event()
    for _ in range(int(PATIENCE_S * 1000)):
        with queue._lock:
            if queue._idle == runners:
                return
        deadline.wait(0.001)
    raise AssertionError("the takers did not come to wait")


def alone_queue(batching: BatchPolicy, clock: HandClock) -> BatchQueue:
    """One whose requests have come one by one for so long that the next has all cores."""
    queue = queue_of(batching, clock=clock)
    for _ in range(ONE_BY_ONE):
        assert not run_one(queue, clock)
    return queue


def run_one(queue: BatchQueue, clock: HandClock) -> bool:
    """A request comes, runs for a second and is over; whether it had all cores."""
    put_all(queue, [MAKE.job()])
    batch = take(queue)
    clock.now_s += 1.0
    queue.took(1.0)
    return batch.wide


class TestAlone:
    """Where a caller that is alone has all cores."""

    def test_requests_that_come_one_by_one_have_all_cores_after_a_while(self) -> None:
        """And go on to."""
        clock = HandClock()
        queue = alone_queue(policy(widens=True), clock)
        assert [run_one(queue, clock) for _ in range(3)] == [True] * 3

    def test_nothing_else_runs_meanwhile(self) -> None:
        """What comes is given out when it is over, and that caller was not the only one."""
        clock = HandClock()
        queue = alone_queue(policy(widens=True), clock)
        put_all(queue, [MAKE.job(rows=5)])
        assert take(queue).wide
        put_all(queue, [MAKE.job()])
        assert queue.take(wait=False) is None
        clock.now_s += 1.0
        queue.took(1.0)
        assert not take(queue).wide

    def test_a_request_that_comes_upon_an_answer_has_not_waited(self) -> None:
        """An answer may be out before its batch is over."""
        clock = HandClock()
        queue = alone_queue(policy(widens=True), clock)
        put_all(queue, [MAKE.job()])
        take(queue)
        clock.now_s += 1.0
        put_all(queue, [MAKE.job()])
        clock.now_s += 0.0001
        queue.took(1.0)
        assert take(queue).wide

    @pytest.mark.parametrize("joins", [True, False])
    def test_two_that_wait_have_one_core_each(self, *, joins: bool) -> None:
        """And it takes a while of others before all cores are given again."""
        clock = HandClock()
        queue = alone_queue(policy(max_rows=8 if joins else 1, joins=joins, widens=True), clock)
        put_all(queue, [MAKE.job(), MAKE.job()])
        assert not take(queue).wide
        if not joins:
            assert not take(queue).wide
            queue.took(1.0)
        queue.took(1.0)
        assert not run_one(queue, clock)

    def test_without_such_a_session_there_is_no_difference(self) -> None:
        """Two runs at a time, each with a core."""
        clock = HandClock()
        queue = alone_queue(policy(max_rows=1, joins=False), clock)
        put_all(queue, [MAKE.job(), MAKE.job()])
        assert [take(queue).wide, take(queue).wide] == [False, False]

    def test_who_waits_hears_the_end_of_a_queue_that_closed_meanwhile(self) -> None:
        """Or a drain would wait for it for ever."""
        queue, go_on = alone_queue(policy(widens=True), HandClock()), threading.Semaphore(0)
        put_all(queue, [MAKE.job()])
        assert take(queue).wide
        other = Runner(queue, go_on)
        other.start()
        until_idle(queue, 1)
        put_all(queue, [MAKE.job()])
        queue.wake()
        queue.close()
        queue.took(1.0)
        go_on.release()
        other.join(PATIENCE_S)
        assert not other.is_alive()
        assert [len(batch.jobs) for batch in other.batches] == [1]


class TestLane:
    """What is little runs on the lane's own thread: lent to it, and left to it by runners."""

    def test_what_is_little_is_lent_while_no_runner_is_at_work(self) -> None:
        """All of it together, also while runners are idle: they are not left a share."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        runner = Runner(queue)
        runner.start()
        until_idle(queue, 1)
        put_all(queue, [MAKE.job(rows=3), MAKE.job(rows=5)])
        assert queue.lends()
        batch = queue.lend()
        assert batch is not None
        assert (batch.rows, batch.closed_by) == (8, "drained")
        assert not queue.took(0.1)
        assert queue.lend() is None
        queue.close()
        runner.join(PATIENCE_S)
        assert not runner.batches

    def test_what_is_much_is_for_runners_who_are_woken(self) -> None:
        """One row more than the lane takes."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        runner = Runner(queue)
        runner.start()
        until_idle(queue, 1)
        put_all(queue, [MAKE.job(rows=9)])
        assert not queue.lends()
        assert queue.lend() is None
        queue.close()
        runner.join(PATIENCE_S)
        assert [batch.rows for batch in runner.batches] == [9]

    def test_nothing_is_lent_where_no_batch_is_for_the_lane(self) -> None:
        """As it is where one row takes too long."""
        queue = queue_of(policy(max_rows=16))
        put_all(queue, [MAKE.job()])
        assert not queue.lends()
        assert queue.lend() is None
        assert take(queue).rows == 1

    def test_a_runner_that_has_the_work_gives_it_up_when_half_of_that_waits(self) -> None:
        """So it does not change hands with each batch; the lane is to be told, once."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job(rows=9)])
        assert queue.lend() is None
        batch = queue.take(wait=True)
        assert batch is not None
        put_all(queue, [MAKE.job(rows=5)])
        # The lane, which looks now, finds a runner at work.
        assert queue.lend() is None
        assert not queue.took(0.1)
        batch = queue.take(wait=True)
        assert batch is not None
        put_all(queue, [MAKE.job(rows=4)])
        assert queue.lend() is None
        assert queue.took(0.1)
        assert queue.lends()

    def test_who_is_still_reading_need_not_be_told(self) -> None:
        """It looks when it has read all."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job(rows=9)])
        assert queue.lend() is None
        assert queue.take(wait=True) is not None
        queue.put([MAKE.job()])
        assert not queue.took(0.1)
        assert queue.lends()

    def test_what_was_handed_over_is_for_runners_however_little_it_is(self) -> None:
        """Other models are asked, whose callers must not wait for the run."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job()])
        queue.wake()
        assert not queue.lends()
        batch = queue.take(wait=True)
        assert batch is not None
        assert batch.rows == 1

    def test_what_was_put_back_is_for_runners(self) -> None:
        """Nobody would tell the lane of it."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job()])
        batch = queue.lend()
        assert batch is not None
        assert not queue.took(0.1)
        queue.put_back(batch.jobs)
        assert not queue.lends()
        batch = queue.take(wait=True)
        assert batch is not None

    def test_a_queue_that_closes_leaves_all_to_runners(self) -> None:
        """A drain waits for them, and for no lane."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job()])
        queue.close()
        assert not queue.lends()
        batch = queue.take(wait=True)
        assert batch is not None
        assert queue.take(wait=True) is None

    def test_requests_whose_callers_have_gone_are_not_lent(self) -> None:
        """They are answered, and those behind them are."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        gone, here = MAKE.job(), MAKE.job(bucket=1)
        put_all(queue, [gone, here])
        call_of(gone).cancelled = True
        batch = queue.lend()
        assert batch is not None
        assert batch.jobs == [here]
        assert isinstance(call_of(gone).error, Cancelled)


class TestRunners:
    """Several takers on threads."""

    def test_close_wakes_all_who_wait(self) -> None:
        """They get nothing, and end."""
        queue = queue_of()
        runners = [Runner(queue) for _ in range(3)]
        for runner in runners:
            runner.start()
        until_idle(queue, 3)
        queue.close()
        for runner in runners:
            runner.join(PATIENCE_S)
            assert not runner.is_alive()

    def test_a_wake_after_a_put_reaches_one_who_waits(self) -> None:
        """It gets the request."""
        queue = queue_of()
        runner = Runner(queue)
        runner.start()
        until_idle(queue, 1)
        job = MAKE.job()
        queue.put((job,))
        queue.wake()
        call_of(job).wait()
        queue.close()
        runner.join(PATIENCE_S)
        assert [batch.jobs for batch in runner.batches] == [[job]]

    def test_what_comes_back_wakes_those_who_wait(self) -> None:
        """Without a wake of the transport's: a runner put it in."""
        queue = queue_of(policy(max_rows=4))
        runners = [Runner(queue) for _ in range(2)]
        for runner in runners:
            runner.start()
        until_idle(queue, 2)
        parts = [MAKE.job(4, size=0, requests=0), MAKE.job(4)]
        queue.put_back(parts)
        for part in parts:
            call_of(part).wait()
        queue.close()
        for runner in runners:
            runner.join(PATIENCE_S)
        assert is_idle(queue)

    def test_parts_of_one_request_reach_every_idle_runner(self) -> None:
        """One put, three parts, three idle runners: none stands idle while another works off the parts."""
        queue, go_on = queue_of(policy(max_rows=4)), threading.Semaphore(0)
        runners = [Runner(queue, go_on) for _ in range(3)]
        for runner in runners:
            runner.start()
        until_idle(queue, 3)
        parts = [MAKE.job(4) for _ in range(3)]
        queue.put(parts)
        queue.wake()
        for part in parts:
            call_of(part).wait()
        queue.close()
        go_on.release(3)
        for runner in runners:
            runner.join(PATIENCE_S)
        assert [len(runner.batches) for runner in runners] == [1, 1, 1]

    def test_what_a_delayed_batch_leaves_is_timed_by_another_idle_runner(self) -> None:
        """The rest of a preferred batch goes out after its delay although the one that cut it is still at work."""
        clock, go_on = HandClock(), threading.Semaphore(0)
        queue = queue_of(policy(max_rows=8, preferred_rows=(2,), max_delay_s=0.01), clock=clock)
        runners = [Runner(queue, go_on) for _ in range(2)]
        for runner in runners:
            runner.start()
        until_idle(queue, 2)
        jobs = [MAKE.job(), MAKE.job(), MAKE.job()]
        queue.put(jobs)
        queue.wake()
        call_of(jobs[1]).wait()
        clock.now_s += 1.0
        call_of(jobs[2]).wait()
        queue.close()
        go_on.release(2)
        for runner in runners:
            runner.join(PATIENCE_S)

    def test_idle_runners_are_left_their_share(self) -> None:
        """Six rows, two more runners free: two rows for each."""
        queue = queue_of(policy(max_rows=8))
        put_all(queue, [MAKE.job() for _ in range(6)])
        queue._idle = 2
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (2, "shared")

    def test_a_share_as_large_as_a_batch_is_a_full_batch(self) -> None:
        """There is more than enough for all."""
        queue = queue_of(policy(max_rows=2))
        put_all(queue, [MAKE.job() for _ in range(6)])
        queue._idle = 1
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (2, "full")


class TestPieces:
    """While one batch could take all that waits, a runner works in pieces: others are sent and received meanwhile."""

    def test_what_one_batch_could_take_is_cut_into_pieces(self) -> None:
        """Six rows in pieces of two."""
        queue = queue_of(policy(max_rows=8, piece_rows=2))
        put_all(queue, [MAKE.job() for _ in range(6)])
        assert [take(queue).rows for _ in range(3)] == [2, 2, 2]

    def test_a_backlog_is_taken_in_full_batches(self) -> None:
        """A row costs least in them, and there is no lack of work."""
        queue = queue_of(policy(max_rows=8, piece_rows=2))
        put_all(queue, [MAKE.job() for _ in range(9)])
        assert (take(queue).rows, queue.rows) == (8, 1)

    def test_a_runner_does_not_take_crumbs_of_a_burst_that_is_still_being_read(self) -> None:
        """It gets them with the wake at the burst's end, or as soon as they make a piece."""
        queue = queue_of(policy(max_rows=8, piece_rows=2))
        queue.put((MAKE.job(),))
        runner = Runner(queue)
        runner.start()
        until_idle(queue, 1)
        assert not runner.batches
        job = MAKE.job()
        queue.put((job,))
        queue.wake()
        call_of(job).wait()
        queue.close()
        runner.join(PATIENCE_S)
        assert [batch.rows for batch in runner.batches] == [2]
