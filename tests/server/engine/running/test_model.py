"""One version: from an admitted request to its answer, and how it comes to an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.batching.batch import Batch
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.in_flight import MIN_SEQUENTIAL_REQUESTS
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.engine.running.model import Model
from sardonyx_server.errors import ExecutionFailed, ModelUnavailable, Overloaded
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.protobuf_fields import EncodedMessage
from tests.e2e.servers import eventually
from tests.server.engine.doubles import (
    PATIENCE_S,
    Array,
    FakeCall,
    FakeSession,
    HandLane,
    decode,
    doubling,
    message,
    model_of,
    policy,
    rows_of,
    signature,
    spec,
)


def submit(model: Model, request: ModelInferRequest, call: FakeCall | None = None) -> FakeCall:
    """Put a request in as the intake does."""
    call = call or FakeCall()
    header, id_field, payloads = decode(request)
    plan, tensors = model.signature.check(header, payloads)
    model.submit(call, plan, tensors, id_field, len(request.SerializeToString()))
    model.queue.wake()
    return call


def numbers(start: int, rows: int) -> ModelInferRequest:
    """A request whose rows tell whose they are."""
    return message({"x": rows_of(start, rows)})


class Gate:
    """A model that waits in its run until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.session = FakeSession(self._answer)

    def _answer(self, feeds: Mapping[str, Array]) -> list[Array]:
        self.entered.release()
        assert self.open.wait(PATIENCE_S)
        return [feeds["x"] * 2]

    def wait_entered(self) -> None:
        """Wait until a run has begun."""
        assert self.entered.acquire(timeout=PATIENCE_S)


class TestRequests:
    """Admission and answers."""

    def test_what_waits_runs_together(self) -> None:
        """An inline model's batch, on the thread that asks for it."""
        session = doubling()
        model = model_of(session)
        calls = [submit(model, numbers(start, 2)) for start in (0, 10, 20)]
        model.run_waiting()
        assert [len(feeds["x"]) for feeds in session.runs] == [6]
        for call, start in zip(calls, (0, 10, 20), strict=True):
            assert call.arrays[0].tolist() == (rows_of(start, 2) * 2).tolist()

    def test_more_rows_than_a_batch_may_have_are_split_and_put_together(self) -> None:
        """The last part joins with others."""
        session, budget = doubling(), ByteBudget(10**6)
        model = model_of(session, batching=policy(max_rows=4), budget=budget)
        large, small = submit(model, numbers(0, 10)), submit(model, numbers(50, 2))
        model.run_waiting()
        assert [len(feeds["x"]) for feeds in session.runs] == [4, 4, 4]
        assert large.arrays[0].tolist() == (rows_of(0, 10) * 2).tolist()
        assert small.arrays[0].tolist() == (rows_of(50, 2) * 2).tolist()
        assert budget.used_bytes == 0

    def test_one_bad_part_fails_its_request_once_and_no_other(self) -> None:
        """The parts behind it do not run any more."""

        def answer(feeds: Mapping[str, Array]) -> list[Array]:
            if 1 in feeds["x"]:
                raise ExecutionFailed("1 is bad")
            return [feeds["x"]]

        session = FakeSession(answer)
        model = model_of(session, batching=policy(max_rows=2))
        bad, good = submit(model, numbers(0, 6)), submit(model, numbers(90, 2))
        model.run_waiting()
        assert isinstance(bad.error, ExecutionFailed)
        assert good.arrays[0].tolist() == rows_of(90, 2).tolist()
        assert [feeds["x"][0, 0] for feeds in session.runs] == [0, 90]

    def test_a_model_without_a_batch_axis_runs_each_request_as_it_is(self) -> None:
        """Whatever its first dimension."""
        session = FakeSession(lambda feeds: [feeds["x"].sum().reshape(())])
        model = model_of(
            session,
            of=signature(outputs=(spec("y", shape=()),), has_batch_axis=False),
            batching=policy(max_rows=1, dynamic_batching=False, has_batch_axis=False),
        )
        calls = [submit(model, numbers(0, rows)) for rows in (3, 1)]
        model.run_waiting()
        assert [feeds["x"].shape for feeds in session.runs] == [(3, 2), (1, 2)]
        assert [call.arrays[0].shape for call in calls] == [(), ()]

    def test_answers_keep_the_order_of_the_requests_where_the_config_asks_for_it(self) -> None:
        """Also of requests that are split, fail or are refused."""
        log: list[str] = []

        class Noting(FakeCall):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.name = name

            def reply(self, message: EncodedMessage) -> None:
                super().reply(message)
                log.append(self.name)

            def fail(self, error: Exception) -> None:
                super().fail(error)
                log.append(self.name)

        free = signature(spec("x", shape=(-1, -1)), outputs=(spec("y", shape=(-1, -1)),))
        model = model_of(doubling(), of=free, batching=policy(max_rows=2, preserve_ordering=True, queue_rows=9))
        submit(model, message({"x": np.zeros((1, 1), np.float32)}), Noting("a"))
        submit(model, numbers(0, 5), Noting("b"))
        gone = Noting("c")
        submit(model, numbers(0, 1), gone)
        gone.cancelled = True
        with pytest.raises(Overloaded):
            submit(model, numbers(0, 3), Noting("refused"))
        submit(model, message({"x": np.zeros((1, 1), np.float32)}), Noting("d"))
        model.run_waiting()
        assert log == ["a", "b", "c", "d"]

    def test_runners_run_what_waits(self) -> None:
        """Each on a thread and with counters of its own."""
        session = doubling()
        model = model_of(session, runners=2)
        model.start()
        calls = [submit(model, numbers(start, 1)) for start in range(20)]
        for call in calls:
            call.wait()
        assert model.drain(PATIENCE_S)
        assert [call.arrays[0].tolist() for call in calls] == [(rows_of(n, 1) * 2).tolist() for n in range(20)]
        assert len(model.counters) == 3
        assert sum(counters.rows for counters in model.counters) == 20

    def test_a_runner_survives_whatever_a_batch_raises(self) -> None:
        """The next one runs."""
        errors: list[Exception] = [ZeroDivisionError("one"), MemoryError("two"), ExecutionFailed("three")]

        def answer(feeds: Mapping[str, Array]) -> list[Array]:
            if errors:
                raise errors.pop(0)
            return [feeds["x"]]

        lost: list[Exception] = []
        model = model_of(FakeSession(answer), runners=1, lost=lost)
        model.start()
        for _ in range(3):
            submit(model, numbers(0, 1)).wait()
        good = submit(model, numbers(0, 1))
        good.wait()
        assert good.replies
        assert model.drain(PATIENCE_S)
        assert not lost


def one_by_one(model: Model) -> None:
    """So many requests that the next has all cores."""
    for start in range(MIN_SEQUENTIAL_REQUESTS):
        ask_alone(model, start)


def ask_alone(model: Model, start: int) -> FakeCall:
    """A request that is answered, and its batch over."""
    call = submit(model, numbers(start, 1))
    call.wait()
    eventually(lambda: not model.queue._in_flight.batches, "over")
    return call


class TestAlone:
    """A model with a session for a caller that is alone, besides that of two runners."""

    def test_requests_that_come_one_by_one_run_there(self) -> None:
        """After a while; both sessions are freed in the end."""
        narrow, wide = doubling(), doubling()
        model = model_of(narrow, latency_session=wide, runners=2, batching=policy(latency_mode=True))
        model.start()
        one_by_one(model)
        for start in (0, 5):
            assert ask_alone(model, start).arrays[0].tolist() == (rows_of(start, 1) * 2).tolist()
        assert model.drain(PATIENCE_S)
        assert (len(narrow.runs), len(wide.runs)) == (MIN_SEQUENTIAL_REQUESTS, 2)
        assert (narrow.closed, wide.closed) == (1, 1)

    def test_what_comes_meanwhile_runs_at_the_same_time_afterwards(self) -> None:
        """Each on one core."""
        gate, wide = Gate(), Gate()
        joining = policy(max_rows=1, dynamic_batching=False, latency_mode=True)
        model = model_of(gate.session, latency_session=wide.session, runners=2, batching=joining)
        model.start()
        gate.open.set()
        one_by_one(model)
        gate.open.clear()
        gate.entered = threading.Semaphore(0)
        first = submit(model, numbers(0, 1))
        wide.wait_entered()
        others = [submit(model, numbers(start, 1)) for start in (1, 2)]
        assert len(gate.session.runs) == MIN_SEQUENTIAL_REQUESTS
        wide.open.set()
        gate.wait_entered()
        gate.wait_entered()
        gate.open.set()
        for start, call in enumerate((first, *others)):
            call.wait()
            assert call.arrays[0].tolist() == (rows_of(start, 1) * 2).tolist()
        assert model.drain(PATIENCE_S)

    def test_a_run_that_does_not_end_is_ended_there_too(self) -> None:
        """When the time for draining is over."""
        narrow, wide = doubling(), Gate()
        model = model_of(narrow, latency_session=wide.session, runners=2, batching=policy(latency_mode=True))
        model.start()
        one_by_one(model)
        call = submit(model, numbers(0, 1))
        wide.wait_entered()
        assert not model.drain(0.0)
        assert (narrow.terminated, wide.session.terminated) == (1, 1)
        wide.open.set()
        call.wait()


class TestDraining:
    """A version comes to its end."""

    def test_what_was_admitted_is_answered_and_the_session_is_freed(self) -> None:
        """Inline: on the thread that drains."""
        session = doubling()
        model = model_of(session)
        call = submit(model, numbers(0, 1))
        assert model.drain(0.0)
        assert call.replies
        assert session.closed == 1
        with pytest.raises(QueueClosed):
            submit(model, numbers(0, 1))
        model.run_waiting()

    def test_runners_finish_first(self) -> None:
        """A run that is under way and what waits behind it."""
        gate = Gate()
        model = model_of(gate.session, runners=1, batching=policy(max_rows=1))
        model.start()
        calls = [submit(model, numbers(0, 1)), submit(model, numbers(1, 1))]
        gate.wait_entered()
        assert not gate.session.closed
        gate.open.set()
        assert model.drain(PATIENCE_S)
        assert all(call.replies for call in calls)
        assert (gate.session.closed, gate.session.terminated) == (1, 0)

    @pytest.mark.parametrize("while_serving", [True, False])
    def test_its_sessions_end_on_the_lane_where_others_are_served_meanwhile(self, *, while_serving: bool) -> None:
        """Each when the lane has answered somebody; where all come to an end, nobody is waited for."""
        ends: list[Callable[[], None]] = []

        class _Lane(HandLane):
            def call_when_idle(self, task: Callable[[], None], /) -> None:
                ends.append(task)
                task()

        narrow, wide = doubling(), doubling()
        model = model_of(narrow, latency_session=wide, runners=1, batching=policy(latency_mode=True), lane=_Lane())
        model.start()
        assert model.drain(PATIENCE_S, while_serving=while_serving)
        assert (narrow.closed, wide.closed) == (1, 1)
        assert len(ends) == (2 if while_serving else 0)

    def test_what_does_not_finish_in_time_is_refused_and_runs_are_ended(self) -> None:
        """The session stays open until its run has ended."""
        gate, budget = Gate(), ByteBudget(10**6)
        model = model_of(gate.session, runners=1, batching=policy(max_rows=1), budget=budget)
        model.start()
        running, waiting = submit(model, numbers(0, 1)), submit(model, numbers(1, 1))
        gate.wait_entered()
        assert not model.drain(0.0)
        assert isinstance(waiting.error, ModelUnavailable)
        assert waiting.error.message == "model 'm' version 1 was stopped before the request ran; retry"
        assert (gate.session.closed, gate.session.terminated) == (0, 1)
        assert running.answers == 0
        gate.open.set()
        running.wait()
        assert running.replies
        assert budget.used_bytes == 0

    def test_a_run_on_the_lane_that_does_not_end_is_ended_too(self) -> None:
        """The lane would take nothing any more, and whoever drains would wait for ever."""
        gate = Gate()
        model = model_of(gate.session)
        call = submit(model, numbers(0, 1))
        lane = threading.Thread(target=model.run_waiting)
        lane.start()
        gate.wait_entered()
        assert not model.drain(0.0)
        assert (gate.session.terminated, gate.session.for_good, gate.session.closed) == (1, True, 0)
        gate.open.set()
        lane.join(PATIENCE_S)
        assert call.replies

    def test_a_run_that_is_ended_is_not_followed_by_another(self) -> None:
        """What waits is refused before the run is ended, or a runner would begin with it."""
        gate = Gate()
        model = model_of(gate.session, runners=1, batching=policy(max_rows=1))
        waited: list[int] = []
        gate.session.on_terminate = lambda: waited.append(model.queue.rows)
        model.start()
        submit(model, numbers(0, 1))
        gate.wait_entered()
        submit(model, numbers(1, 1))
        assert not model.drain(0.0)
        assert waited == [0]
        assert gate.session.for_good
        gate.open.set()


class BrokenQueue(BatchQueue):
    """A queue with a bug."""

    def take(self, *, wait: bool) -> Batch | None:
        """Raise."""
        raise ZeroDivisionError("bug")


def test_a_loop_that_fails_is_told() -> None:
    """It is a bug, and the server must not go on as if all were well."""
    lost: list[Exception] = []
    model = model_of(doubling(), runners=1, lost=lost)
    model.queue = BrokenQueue("m", policy(), ByteBudget(1), failures=model.failures, seconds_per_row=0.0)
    model.start()
    model._threads[0].join(PATIENCE_S)
    assert [type(error) for error in lost] == [ZeroDivisionError]


def test_a_model_shows_what_was_found_out() -> None:
    """For metadata."""
    model = model_of(doubling(), runners=0)
    assert (model.name, model.version, model.inline) == ("m", 1, True)
    assert (model.inputs, model.outputs) == (model.signature.inputs, model.signature.outputs)
    assert model.config is model.info.config
    assert not model_of(doubling(), runners=1).inline
