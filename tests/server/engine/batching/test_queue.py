"""Who takes what waits in the queue of one model, and when runners are woken. By a clock moved by hand."""

from __future__ import annotations

import threading

import pytest

from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.in_flight import MIN_SEQUENTIAL_REQUESTS
from sardonyx_server.engine.batching.policy import BatchPolicy
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.errors import Cancelled
from tests.server.engine.batching.queues import is_idle, put_all, take
from tests.server.engine.doubles import PATIENCE_S, HandClock, QueuedRequests, call_of, policy, queue_of

MAKE = QueuedRequests()


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
            if queue._idle_count == runners:
                return
        deadline.wait(0.001)
    raise AssertionError("the takers did not come to wait")


def alone_queue(batching: BatchPolicy, clock: HandClock) -> BatchQueue:
    """One whose requests have come one by one for so long that the next has all cores."""
    queue = queue_of(batching, clock=clock)
    for _ in range(MIN_SEQUENTIAL_REQUESTS):
        assert not run_one(queue, clock)
    return queue


def run_one(queue: BatchQueue, clock: HandClock) -> bool:
    """A request comes, runs for a second and is over; whether it had all cores."""
    put_all(queue, [MAKE.job()])
    batch = take(queue)
    clock.now_s += 1.0
    queue.finish(1.0, 1)
    return batch.exclusive


class TestAlone:
    """Where a caller that is alone has all cores."""

    def test_requests_that_come_one_by_one_have_all_cores_after_a_while(self) -> None:
        """And go on to."""
        clock = HandClock()
        queue = alone_queue(policy(latency_mode=True), clock)
        assert [run_one(queue, clock) for _ in range(3)] == [True] * 3

    def test_nothing_else_runs_meanwhile(self) -> None:
        """What comes is given out when it is over, and that caller was not the only one."""
        clock = HandClock()
        queue = alone_queue(policy(latency_mode=True), clock)
        put_all(queue, [MAKE.job(rows=5)])
        assert take(queue).exclusive
        put_all(queue, [MAKE.job()])
        assert queue.take(wait=False) is None
        clock.now_s += 1.0
        queue.finish(1.0, 1)
        assert not take(queue).exclusive

    def test_a_request_that_comes_upon_an_answer_has_not_waited(self) -> None:
        """An answer may be out before its batch is over."""
        clock = HandClock()
        queue = alone_queue(policy(latency_mode=True), clock)
        put_all(queue, [MAKE.job()])
        take(queue)
        clock.now_s += 1.0
        put_all(queue, [MAKE.job()])
        clock.now_s += 0.0001
        queue.finish(1.0, 1)
        assert take(queue).exclusive

    @pytest.mark.parametrize("dynamic_batching", [True, False])
    def test_two_that_wait_have_one_core_each(self, *, dynamic_batching: bool) -> None:
        """And it takes a while of others before all cores are given again."""
        clock = HandClock()
        queue = alone_queue(
            policy(max_rows=8 if dynamic_batching else 1, dynamic_batching=dynamic_batching, latency_mode=True), clock
        )
        put_all(queue, [MAKE.job(), MAKE.job()])
        assert not take(queue).exclusive
        if not dynamic_batching:
            assert not take(queue).exclusive
            queue.finish(1.0, 1)
        queue.finish(1.0, 1)
        assert not run_one(queue, clock)

    def test_without_such_a_session_there_is_no_difference(self) -> None:
        """Two runs at a time, each with a core."""
        clock = HandClock()
        queue = alone_queue(policy(max_rows=1, dynamic_batching=False), clock)
        put_all(queue, [MAKE.job(), MAKE.job()])
        assert [take(queue).exclusive, take(queue).exclusive] == [False, False]

    def test_who_waits_hears_the_end_of_a_queue_that_closed_meanwhile(self) -> None:
        """Or a drain would wait for it for ever."""
        queue, go_on = alone_queue(policy(latency_mode=True), HandClock()), threading.Semaphore(0)
        put_all(queue, [MAKE.job()])
        assert take(queue).exclusive
        other = Runner(queue, go_on)
        other.start()
        until_idle(queue, 1)
        put_all(queue, [MAKE.job()])
        queue.wake()
        queue.close()
        queue.finish(1.0, 1)
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
        assert queue.is_for_lane()
        batch = queue.take_for_lane()
        assert batch is not None
        assert (batch.rows, batch.closed_by) == (8, "drained")
        assert not queue.finish(0.1, 1)
        assert queue.take_for_lane() is None
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
        assert not queue.is_for_lane()
        assert queue.take_for_lane() is None
        queue.close()
        runner.join(PATIENCE_S)
        assert [batch.rows for batch in runner.batches] == [9]

    def test_nothing_is_lent_where_no_batch_is_for_the_lane(self) -> None:
        """As it is where one row takes too long."""
        queue = queue_of(policy(max_rows=16))
        put_all(queue, [MAKE.job()])
        assert not queue.is_for_lane()
        assert queue.take_for_lane() is None
        assert take(queue).rows == 1

    def test_a_runner_that_has_the_work_gives_it_up_when_half_of_that_waits(self) -> None:
        """So it does not change hands with each batch; the lane is to be told, once."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job(rows=9)])
        assert queue.take_for_lane() is None
        batch = queue.take(wait=True)
        assert batch is not None
        put_all(queue, [MAKE.job(rows=5)])
        # The lane, which looks now, finds a runner at work.
        assert queue.take_for_lane() is None
        assert not queue.finish(0.1, 1)
        batch = queue.take(wait=True)
        assert batch is not None
        put_all(queue, [MAKE.job(rows=4)])
        assert queue.take_for_lane() is None
        assert queue.finish(0.1, 1)
        assert queue.is_for_lane()

    def test_who_is_still_reading_need_not_be_told(self) -> None:
        """It looks when it has read all."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job(rows=9)])
        assert queue.take_for_lane() is None
        assert queue.take(wait=True) is not None
        queue.put([MAKE.job()])
        assert not queue.finish(0.1, 1)
        assert queue.is_for_lane()

    def test_what_was_handed_over_is_for_runners_however_little_it_is(self) -> None:
        """Other models are asked, whose callers must not wait for the run."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job()])
        queue.wake()
        assert not queue.is_for_lane()
        batch = queue.take(wait=True)
        assert batch is not None
        assert batch.rows == 1

    def test_what_was_put_back_is_for_runners(self) -> None:
        """Nobody would tell the lane of it."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job()])
        batch = queue.take_for_lane()
        assert batch is not None
        assert not queue.finish(0.1, 1)
        queue.requeue(batch.jobs)
        assert not queue.is_for_lane()
        batch = queue.take(wait=True)
        assert batch is not None

    def test_a_queue_that_closes_leaves_all_to_runners(self) -> None:
        """A drain waits for them, and for no lane."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        put_all(queue, [MAKE.job()])
        queue.close()
        assert not queue.is_for_lane()
        batch = queue.take(wait=True)
        assert batch is not None
        assert queue.take(wait=True) is None

    def test_requests_whose_callers_have_gone_are_not_lent(self) -> None:
        """They are answered, and those behind them are."""
        queue = queue_of(policy(max_rows=16, lane_rows=8))
        gone, here = MAKE.job(), MAKE.job(bucket=1)
        put_all(queue, [gone, here])
        call_of(gone).cancelled = True
        batch = queue.take_for_lane()
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
        queue.requeue(parts)
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
        queue._idle_count = 2
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (2, "shared")

    def test_a_share_as_large_as_a_batch_is_a_full_batch(self) -> None:
        """There is more than enough for all."""
        queue = queue_of(policy(max_rows=2))
        put_all(queue, [MAKE.job() for _ in range(6)])
        queue._idle_count = 1
        batch = take(queue)
        assert (batch.rows, batch.closed_by) == (2, "full")


class TestPieces:
    """While one batch could take all that waits, a runner works in pieces: others are sent and received meanwhile."""

    def test_what_one_batch_could_take_is_cut_into_pieces(self) -> None:
        """Six rows in pieces of two."""
        queue = queue_of(policy(max_rows=8, microbatch_rows=2))
        put_all(queue, [MAKE.job() for _ in range(6)])
        assert [take(queue).rows for _ in range(3)] == [2, 2, 2]

    def test_a_backlog_is_taken_in_full_batches(self) -> None:
        """A row costs least in them, and there is no lack of work."""
        queue = queue_of(policy(max_rows=8, microbatch_rows=2))
        put_all(queue, [MAKE.job() for _ in range(9)])
        assert (take(queue).rows, queue.rows) == (8, 1)

    def test_a_runner_does_not_take_crumbs_of_a_burst_that_is_still_being_read(self) -> None:
        """It gets them with the wake at the burst's end, or as soon as they make a piece."""
        queue = queue_of(policy(max_rows=8, microbatch_rows=2))
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
