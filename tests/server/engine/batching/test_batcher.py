"""Which jobs are the next batch, and which are dropped when their turn comes. By a clock moved by hand."""

from __future__ import annotations

import math

import pytest

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.policy import QueuePolicy
from sardonyx_server.errors import Cancelled, DeadlineExceeded, Overloaded
from tests.server.engine.batching.queues import is_idle, put_all, take
from tests.server.engine.doubles import BrokenCall, HandClock, QueuedRequests, call_of, policy, queue_of

MAKE = QueuedRequests()
DEFERRED = QueuedRequests(deferred_reads=True)
TWO_LEVELS = {1: QueuePolicy(), 2: QueuePolicy()}


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
        queue, jobs = queue_of(policy(dynamic_batching=False)), [MAKE.job(), MAKE.job()]
        put_all(queue, jobs)
        batch = take(queue)
        assert (batch.jobs, batch.closed_by) == (jobs[:1], "alone")
        assert take(queue).jobs == jobs[1:]

    def test_what_its_run_reads_from_shared_memory_joins_further(self) -> None:
        """To share a run costs such requests no copy. Of others a run holds as many as ever: here, one."""
        queue = queue_of(policy(max_rows=1, dynamic_batching=False, deferred_read_rows=4))
        sent, deferred = [MAKE.job() for _ in range(2)], [DEFERRED.job() for _ in range(5)]
        put_all(queue, [*sent, *deferred])
        assert [take(queue).jobs for _ in range(4)] == [sent[:1], deferred[:4], sent[1:], deferred[4:]]

    def test_where_they_gain_nothing_by_it_they_join_like_others(self) -> None:
        """As far as the model's batches go."""
        queue, jobs = queue_of(policy(max_rows=2)), [DEFERRED.job() for _ in range(3)]
        put_all(queue, jobs)
        assert [take(queue).jobs for _ in range(2)] == [jobs[:2], jobs[2:]]

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
        queue = queue_of(policy(levels={1: QueuePolicy(timeout_s=0.5)}), clock=clock)
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
        levels = {1: QueuePolicy(timeout_s=0.5, delay_on_timeout=True)}
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
        queue = queue_of(policy(levels={1: QueuePolicy(timeout_s=0.5, delay_on_timeout=True)}), clock=clock)
        jobs = [MAKE.job(), MAKE.job()]
        put_all(queue, jobs)
        clock.now_s += 1.0
        assert take(queue).jobs + take(queue).jobs == jobs
        assert is_idle(queue)

    def test_a_delayed_request_still_heeds_its_deadline(self) -> None:
        """The caller's own time is another matter than the policy's."""
        clock = HandClock()
        levels = {1: QueuePolicy(timeout_s=0.5, delay_on_timeout=True)}
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
        queue = queue_of(policy(levels={1: QueuePolicy(timeout_s=1.0, allow_timeout_override=True)}), clock=clock)
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


class TestDropping:
    """Who nobody waits for never runs."""

    def test_a_request_that_cannot_be_ready_by_its_deadline_does_not_run(self) -> None:
        """Its caller would be gone; the next one may be served in that time."""
        clock = HandClock()
        queue = queue_of(clock=clock)
        queue.finish(1.0, 1)
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
