"""Equal requests share a run or what is kept of one, and each caller keeps its own answer and its own fate."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.policy import QueuePolicy
from sardonyx_server.engine.requests.lazy_strings import LANE_STRINGS
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.running.execution import run_batch
from sardonyx_server.engine.running.model import Model
from sardonyx_server.engine.statistics import snapshot
from sardonyx_server.errors import Cancelled, DeadlineExceeded, ExecutionFailed, ModelUnavailable, Overloaded
from sardonyx_server.settings import MIB
from sardonyx_wire.messages import ModelInferRequest
from tests.server.engine.doubles import (
    PATIENCE_S,
    Array,
    BrokenCall,
    FakeCall,
    FakeSession,
    decode,
    doubling,
    message,
    model_of,
    policy,
    rows_of,
    signature,
    spec,
)

MIXED = signature(
    spec("x"),
    spec("t", "BYTES", (-1,)),
    spec("b", "BOOL", (-1,)),
    spec("o", "INT64", (-1,), optional=True),
    outputs=(spec("y"), spec("u", "BYTES", (-1,))),
)


def cached(session: FakeSession | None = None, **more: Any) -> Model:
    """Model 'm' with a response cache."""
    more.setdefault("response_cache", ResponseCache(10**6))
    return model_of(session or doubling(), **more)


def mixed(**more: Any) -> tuple[Model, FakeSession]:
    """A model of all kinds of inputs; y is 2 x, u is t."""

    def answer(feeds: Any) -> list[Array]:
        return [{"y": feeds["x"] * 2, "u": feeds["t"]}[name] for name in session.names[-1]]

    session = FakeSession(answer)
    return cached(session, of=MIXED, **more), session


def submit(model: Model, request: ModelInferRequest, call: FakeCall | None = None) -> FakeCall:
    """Put a request in as the intake does."""
    call = call or FakeCall()
    encoded = request.SerializeToString()
    header, id_field, payloads = decode(request)
    plan, tensors = model.signature.check(header, payloads)
    model.submit(call, plan, tensors, id_field, len(encoded))
    model.queue.wake()
    return call


def numbers(start: int, rows: int = 1, **more: Any) -> ModelInferRequest:
    """A request whose rows tell whose they are."""
    return message({"x": rows_of(start, rows)}, **more)


def asked(model: Model, request: ModelInferRequest) -> FakeCall:
    """A request, answered."""
    call = submit(model, request)
    model.run_waiting()
    return call


def base(**changed: Array) -> dict[str, Array]:
    """Inputs of the model of all kinds."""
    return {
        "x": rows_of(1, 2),
        "t": np.array(["é", "two"], object),
        "b": np.array([True, False]),
        **changed,
    }


def set_parameter(request: ModelInferRequest, name: str, value: int) -> None:
    """Give a request a parameter."""
    request.parameters[name].int64_param = value


def reverse_inputs(request: ModelInferRequest) -> None:
    """Send the inputs in another order."""
    inputs, contents = list(request.inputs), list(request.raw_input_contents)
    del request.inputs[:], request.raw_input_contents[:]
    request.inputs.extend(reversed(inputs))
    request.raw_input_contents.extend(reversed(contents))


def send_typed(request: ModelInferRequest) -> None:
    """Send the inputs in the other form."""
    del request.raw_input_contents[:]
    x, t, b = request.inputs
    x.contents.fp32_contents.extend(rows_of(1, 2).ravel().tolist())
    t.contents.bytes_contents.extend([text.encode() for text in ("é", "two")])
    b.contents.bool_contents.extend([True, False])


class TestKey:
    """What makes requests equal."""

    def test_an_equal_request_is_answered_without_a_run(self) -> None:
        """With its own id."""
        session = doubling()
        model = cached(session)
        first = asked(model, numbers(3, 2, request_id="a"))
        second = submit(model, numbers(3, 2, request_id="b"))
        assert second.answers == 1, "at once, without a run"
        assert (first.response.id, second.response.id) == ("a", "b")
        assert second.response.raw_output_contents == first.response.raw_output_contents
        assert len(session.runs) == 1

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda request: set_parameter(request, "priority", 2), id="priority"),
            pytest.param(lambda request: set_parameter(request, "timeout", 9), id="timeout"),
            pytest.param(lambda request: set_parameter(request, "of the caller's own", 1), id="parameter"),
            pytest.param(lambda request: setattr(request, "id", "other"), id="id"),
            pytest.param(lambda request: setattr(request, "model_version", "1"), id="version"),
            pytest.param(reverse_inputs, id="order"),
            pytest.param(send_typed, id="typed"),
            pytest.param(lambda request: [request.outputs.add(name=name) for name in ("y", "u")], id="outputs"),
        ],
    )
    def test_how_a_request_is_sent_makes_no_difference(self, change: Callable[[ModelInferRequest], Any]) -> None:
        """Order of inputs, raw or typed contents, id, parameters, outputs spelled out that are all there are."""
        model, session = mixed()
        first = asked(model, message(base(), request_id="a"))
        request = message(base(), request_id="a")
        change(request)
        second = asked(model, request)
        assert len(session.runs) == 1
        assert second.response.raw_output_contents == first.response.raw_output_contents
        assert second.response.outputs == first.response.outputs

    @pytest.mark.parametrize(
        "request_",
        [
            message(base(x=rows_of(1, 2) + np.float32(1e-6))),
            message(base(x=np.array([[0.0, -0.0], [1, 1]], np.float32))),
            message(base(x=np.array([[-0.0, 0.0], [1, 1]], np.float32))),
            message(base(t=np.array(["étwo", ""], object))),
            message(base(t=np.array(["", "étwo"], object))),
            message(base(t=np.array(["two", "é"], object))),
            message(base(b=np.array([False, True]))),
            message(base(o=np.array([0, 0]))),
            message(base(o=np.array([0, 1]))),
            message(base(), outputs=["y"]),
            message(base(), outputs=["u"]),
            message(base(), outputs=["u", "y"]),
            message({"x": rows_of(1, 1), "t": np.array(["é"], object), "b": np.array([True])}),
        ],
    )
    def test_whatever_may_change_the_answer_makes_another_request(self, request_: ModelInferRequest) -> None:
        """Bits, elements, an optional input, the outputs and their order, the rows."""
        model, session = mixed()
        asked(model, message(base()))
        asked(model, request_)
        assert len(session.runs) == 2
        asked(model, request_)
        assert len(session.runs) == 2

    def test_the_same_bytes_in_another_shape_are_another_request(self) -> None:
        """[2,3] and [3,2] of the same numbers, and [1,6] in one row."""
        session = FakeSession(lambda feeds: [feeds["x"]])
        wide = signature(spec("x", shape=(-1, -1)), outputs=(spec("y", shape=(-1, -1)),))
        model = cached(session, of=wide)
        data = np.arange(6, dtype=np.float32)
        for shape in ((2, 3), (3, 2), (1, 6), (6, 1)):
            call = asked(model, message({"x": data.reshape(shape)}))
            assert call.arrays[0].shape == shape
        assert len(session.runs) == 4

    def test_a_bool_that_is_no_bool_is_a_bool(self) -> None:
        """The model gets 1 for it, and so does the cache."""
        model, session = mixed()
        asked(model, message(base(b=np.array([True, True]))))
        request = message(base(b=np.array([True, True])))
        request.raw_input_contents[2] = b"\x07\xff"
        asked(model, request)
        assert len(session.runs) == 1

    def test_many_strings_are_known_by_the_bytes_that_came(self) -> None:
        """They are decoded when the model runs, if it does."""
        texts = signature(spec("t", "BYTES", (-1, -1)), outputs=(spec("u", "BYTES"),))
        session = FakeSession(lambda feeds: [feeds["t"][:, -2:]])
        model = cached(session, of=texts)
        values = np.array([["é"] * LANE_STRINGS + ["z"]], object)
        for _ in range(2):
            assert asked(model, message({"t": values})).arrays[0].tolist() == [[b"\xc3\xa9", b"z"]]
        assert len(session.runs) == 1
        values[0, 0] = "e"
        asked(model, message({"t": values}))
        assert len(session.runs) == 2

    def test_many_strings_as_typed_contents_are_not_looked_at(self) -> None:
        """To make them the bytes that they would have been holds up the lane."""
        texts = signature(spec("t", "BYTES", (-1, -1)), outputs=(spec("u", "BYTES"),))
        session = FakeSession(lambda feeds: [feeds["t"][:, -2:]])
        model = cached(session, of=texts)
        for count, runs in ((LANE_STRINGS, 1), (LANE_STRINGS + 1, 3)):
            request = ModelInferRequest(model_name="m")
            tensor = request.inputs.add(name="t", datatype="BYTES", shape=[1, count])
            tensor.contents.bytes_contents.extend([b"z"] * count)
            for _ in range(2):
                assert asked(model, request).arrays[0].tolist() == [[b"z", b"z"]]
            assert len(session.runs) == runs

    def test_a_request_beyond_the_bound_is_not_looked_at(self) -> None:
        """Hashing holds up the lane. It counts as a miss."""
        session = FakeSession(lambda feeds: [feeds["x"][:, :2]])
        wide = signature(spec("x", shape=(-1, -1)), outputs=(spec("y"),))
        many = policy(queue_bytes=10**8)
        model = cached(session, of=wide, batching=many, budget=ByteBudget(10**8))
        for size, runs in ((4 * MIB // 4 - 100, 1), (4 * MIB // 4 + 1, 3)):
            for _ in range(2):
                assert asked(model, message({"x": np.ones((1, size), np.float32)})).arrays[0].tolist() == [[1, 1]]
            assert len(session.runs) == runs
        assert snapshot(model).cache_miss.count == 3

    def test_an_answer_beyond_the_bound_is_not_kept(self) -> None:
        """It is given all the same."""
        session = doubling()
        model = cached(session, response_cache=ResponseCache(4096))
        for _ in range(2):
            assert asked(model, numbers(0, 8)).arrays[0].tolist() == (rows_of(0, 8) * 2).tolist()
        kept = cached(session, response_cache=ResponseCache(1024))
        for _ in range(2):
            asked(kept, numbers(0, 1))
        assert len(session.runs) == 4


class TestVersions:
    """Whose answers they are."""

    def test_a_new_version_does_not_give_the_answers_of_the_old_one(self) -> None:
        """Not even where it has the same number: the file was replaced."""
        kept = ResponseCache(10**6)
        old = cached(response_cache=kept)
        new = cached(FakeSession(lambda feeds: [feeds["x"] * 3]), response_cache=kept)
        assert asked(old, numbers(1)).arrays[0].tolist() == [[2, -2]]
        assert asked(new, numbers(1)).arrays[0].tolist() == [[3, -3]]
        assert asked(old, numbers(1)).arrays[0].tolist() == [[2, -2]]

    def test_a_version_that_drains_leaves_nothing_behind(self) -> None:
        """Neither what it kept nor what comes too late."""
        kept = ResponseCache(10**6)
        old, new = cached(response_cache=kept), cached(response_cache=kept)
        asked(old, numbers(1))
        asked(new, numbers(1))
        assert len(kept) == 2
        assert old.drain(PATIENCE_S)
        assert len(kept) == 1
        assert new.drain(PATIENCE_S)
        assert (len(kept), kept.used_bytes) == (0, 0)

    def test_an_answer_that_comes_after_the_end_is_not_kept(self) -> None:
        """A run that was under way when the time for draining was over."""
        kept = ResponseCache(10**6)
        model = cached(response_cache=kept)
        call = submit(model, numbers(1))
        batch = model.queue.take(wait=False)
        assert batch is not None
        assert model.drain(0.0)
        run_batch(doubling(), batch, model.counters[0])
        assert call.arrays[0].tolist() == [[2, -2]]
        assert len(kept) == 0

    def test_a_request_to_a_version_that_drains_is_told_to_look_again(self) -> None:
        """It is in nobody's way afterwards."""
        model = cached()
        model.queue.close()
        for _ in range(2):
            with pytest.raises(QueueClosed):
                submit(model, numbers(1))


class TestTogether:
    """Equal requests that wait at the same time."""

    def test_they_run_once(self) -> None:
        """Each has its own id; others in the same batch are not touched."""
        session = doubling()
        model = cached(session)
        calls = [submit(model, numbers(number % 2, request_id=str(number))) for number in range(6)]
        assert model.queue.rows == 2
        model.run_waiting()
        assert [len(run["x"]) for run in session.runs] == [2]
        for number, call in enumerate(calls):
            assert call.response.id == str(number)
            assert call.arrays[0].tolist() == (rows_of(number % 2, 1) * 2).tolist()

    def test_also_where_the_answer_is_too_large_to_be_kept(self) -> None:
        """It is shared out, and then forgotten."""
        session = doubling()
        model = cached(session, response_cache=ResponseCache(1024))
        calls = [submit(model, numbers(0, 8, request_id=str(number))) for number in range(3)]
        model.run_waiting()
        assert len(session.runs) == 1
        assert all(call.arrays[0].tolist() == (rows_of(0, 8) * 2).tolist() for call in calls)

    def test_also_where_a_request_is_cut_into_parts(self) -> None:
        """Three runs for both, and none for the third that comes later."""
        session = doubling()
        model = cached(session)
        calls = [submit(model, numbers(0, 20, request_id=str(number))) for number in range(2)]
        model.run_waiting()
        calls.append(submit(model, numbers(0, 20, request_id="2")))
        assert [len(run["x"]) for run in session.runs] == [8, 8, 4]
        for number, call in enumerate(calls):
            assert call.response.id == str(number)
            assert call.arrays[0].tolist() == (rows_of(0, 20) * 2).tolist()

    def test_strings_too(self) -> None:
        """They are encoded once, for all."""
        model, session = mixed()
        calls = [submit(model, message(base())) for _ in range(3)]
        model.run_waiting()
        assert len(session.runs) == 1
        assert [call.response for call in calls] == [calls[0].response] * 3

    def test_the_message_of_one_that_follows_does_not_stay_in_memory(self) -> None:
        """The first one's is the same."""
        model = cached(budget=(budget := ByteBudget(10**6)))
        submit(model, numbers(0))
        used = budget.used_bytes
        submit(model, numbers(0))
        assert budget.used_bytes == used
        model.run_waiting()
        assert budget.used_bytes == 0

    def test_no_more_than_4096_follow_one(self) -> None:
        """The queue's bounds do not hold for them. Those beyond go into the queue."""
        model = cached(batching=policy(queue_rows=2))
        calls = [submit(model, numbers(0)) for _ in range(1 + 4096)]
        assert model.queue.rows == 1
        calls.append(submit(model, numbers(0)))
        assert model.queue.rows == 2
        with pytest.raises(Overloaded):
            submit(model, numbers(0))
        model.run_waiting()
        assert all(call.answers == 1 for call in calls)

    def test_a_request_of_another_priority_or_timeout_goes_its_own_way(self) -> None:
        """What the queue does to one would be wrong for the other."""
        model = cached(batching=policy(max_rows=1, dynamic_batching=False, levels={1: QueuePolicy(), 2: QueuePolicy()}))
        submit(model, numbers(0, priority=2))
        submit(model, numbers(0, priority=1))
        submit(model, numbers(0, priority=1, timeout=5))
        assert model.queue.rows == 3
        submit(model, numbers(0, priority=2))
        assert model.queue.rows == 3

    def test_the_order_of_answers_is_kept(self) -> None:
        """An answer that is kept waits for those before it."""
        model = cached(batching=policy(preserve_ordering=True))
        asked(model, numbers(1))
        slow, hit = submit(model, numbers(2)), submit(model, numbers(1))
        assert (slow.answers, hit.answers) == (0, 0)
        model.run_waiting()
        assert (slow.answers, hit.answers) == (1, 1)

    def test_a_request_that_is_refused_is_followed_by_nobody(self) -> None:
        """The next equal one tries for itself."""
        model = cached(batching=policy(queue_rows=1))
        submit(model, numbers(1))
        with pytest.raises(Overloaded):
            submit(model, numbers(2))
        model.run_waiting()
        assert asked(model, numbers(2)).arrays[0].tolist() == [[4, -4]]


class TestFates:
    """What befalls one of them."""

    def test_a_failure_is_shared_and_not_kept(self) -> None:
        """The same inputs would fail the same way; the next time they may not."""
        answers: list[Callable[[Any], list[Array]]] = [_raising, lambda feeds: [feeds["x"]]]

        def answer(feeds: Any) -> list[Array]:
            return answers.pop(0)(feeds)

        model = cached(FakeSession(answer))
        calls = [submit(model, numbers(0)) for _ in range(3)]
        model.run_waiting()
        assert [type(call.error) for call in calls] == [ExecutionFailed] * 3
        assert asked(model, numbers(0)).arrays[0].tolist() == [[0, 0]]
        counted = snapshot(model)
        assert (counted.fail.count, counted.cache_hit.count, counted.cache_miss.count) == (3, 0, 1)

    def test_who_has_a_failure_and_asks_again_has_a_run_of_its_own(self) -> None:
        """Even from within the answer: nobody can join what has failed."""
        answers: list[Callable[[Any], list[Array]]] = [_raising, lambda feeds: [feeds["x"]]]
        model = cached(FakeSession(lambda feeds: answers.pop(0)(feeds)))  # noqa: PLW0108  # the next at each run
        again = FakeCall()

        class Persistent(FakeCall):
            def fail(self, error: Exception) -> None:
                super().fail(error)
                submit(model, numbers(1), again)

        submit(model, numbers(1), Persistent())
        model.run_waiting()
        assert again.arrays[0].tolist() == [[1, -1]]

    def test_where_the_first_goes_away_the_next_takes_its_place(self) -> None:
        """The model runs once, for those who are still there."""
        session = doubling()
        model = cached(session, budget=(budget := ByteBudget(10**6)))
        calls = [submit(model, numbers(7, request_id=str(number))) for number in range(5)]
        for gone in (0, 1, 3):
            calls[gone].cancelled = True
        model.run_waiting()
        assert [type(calls[number].error) for number in (0, 1)] == [Cancelled] * 2
        assert [calls[number].response.id for number in (2, 4)] == ["2", "4"]
        assert calls[4].arrays[0].tolist() == [[14, -14]]
        # One that follows is not waited for: it has an answer that goes nowhere.
        assert calls[3].answers == 1
        assert len(session.runs) == 1
        assert (budget.used_bytes, model.queue.rows, model.pending_requests) == (0, 0, 0)

    def test_a_deadline_is_each_requests_own(self) -> None:
        """That of the first has passed; the model runs for the second."""
        model = cached()
        first, second = submit(model, numbers(7), FakeCall(deadline_s=0.0)), submit(model, numbers(7))
        model.run_waiting()
        assert isinstance(first.error, DeadlineExceeded)
        assert second.arrays[0].tolist() == [[14, -14]]

    def test_where_all_have_gone_the_model_does_not_run(self) -> None:
        """Each is told why."""
        session = doubling()
        model = cached(session)
        calls = [submit(model, numbers(7), FakeCall(deadline_s=0.0)) for _ in range(3)]
        model.run_waiting()
        assert [type(call.error) for call in calls] == [DeadlineExceeded] * 3
        assert session.runs == []
        assert asked(model, numbers(7)).arrays[0].tolist() == [[14, -14]]

    def test_a_place_is_taken_in_a_queue_that_drains_too(self) -> None:
        """It was admitted before."""
        model = cached()
        first, second = submit(model, numbers(7)), submit(model, numbers(7))
        first.cancelled = True
        assert model.drain(PATIENCE_S)
        assert isinstance(first.error, Cancelled)
        assert second.arrays[0].tolist() == [[14, -14]]

    def test_a_large_request_hands_its_place_on_as_a_whole(self) -> None:
        """Although it is cut into parts."""
        model = cached()
        first, second = submit(model, numbers(0, 20)), submit(model, numbers(0, 20))
        first.cancelled = True
        model.run_waiting()
        assert first.answers == 1
        assert second.arrays[0].tolist() == (rows_of(0, 20) * 2).tolist()
        assert (model.queue.rows, model.pending_requests) == (0, 0)

    def test_when_the_time_for_draining_is_over_all_are_told(self) -> None:
        """One after the other would be too late."""
        model = cached(runners=1)
        calls = [submit(model, numbers(7)) for _ in range(3)]
        model.queue.close()
        model.queue.fail_pending(ModelUnavailable("over"))
        assert [type(call.error) for call in calls] == [ModelUnavailable] * 3

    def test_a_caller_that_cannot_be_answered_costs_no_other_its_answer(self) -> None:
        """Whichever of them it is."""
        for broken in range(3):
            model = cached()
            calls = [submit(model, numbers(7), BrokenCall() if number == broken else None) for number in range(3)]
            model.run_waiting()
            assert [call.answers for call in calls] == [int(number != broken) for number in range(3)]


class TestCounts:
    """What the statistics say."""

    def test_hits_count_as_success_and_not_as_inference(self) -> None:
        """One run of two rows; four answers that needed none."""
        model = cached()
        calls = [submit(model, numbers(0, 2)) for _ in range(3)]
        model.run_waiting()
        calls += [submit(model, numbers(0, 2)) for _ in range(2)]
        counted = snapshot(model)
        assert all(call.arrays for call in calls)
        assert (counted.success.count, counted.inference_count, counted.execution_count) == (5, 2, 1)
        assert (counted.cache_hit.count, counted.cache_miss.count) == (4, 1)
        assert (counted.queue.count, counted.compute_infer.count) == (5, 1)
        assert counted.cache_hit.ns > 0
        assert counted.cache_miss.ns > 0

    def test_a_model_without_a_cache_counts_none(self) -> None:
        """And keeps nothing."""
        model = model_of(doubling())
        for _ in range(2):
            asked(model, numbers(0))
        counted = snapshot(model)
        assert (counted.cache_hit.count, counted.cache_miss.count, counted.inference_count) == (0, 0, 2)


def test_a_kept_answer_holds_neither_batch_nor_message() -> None:
    """Its bytes are its own, however large the batch was."""
    arrays: list[weakref.ref[Array]] = []

    def answer(feeds: Any) -> list[Array]:
        made = feeds["x"] * 2
        arrays.append(weakref.ref(made))
        return [made]

    wide = signature(spec("x", shape=(-1, 20_000)), outputs=(spec("y", shape=(-1, 20_000)),))
    kept = ResponseCache(10**8)
    model = cached(
        FakeSession(answer), of=wide, response_cache=kept, budget=ByteBudget(10**8), batching=policy(queue_bytes=10**8)
    )
    calls = [submit(model, message({"x": np.full((1, 20_000), number, np.float32)})) for number in range(4)]
    model.run_waiting()
    assert all(call.answers for call in calls)
    gc.collect()
    assert len(kept) == 4
    assert [array() for array in arrays] == [None]


def test_threads_share_one_run() -> None:
    """Sixteen callers on their own threads, two runners: every answer is right, and the accounts are closed."""
    session = doubling()
    model = cached(session, runners=2)
    model.start()
    barrier = threading.Barrier(16)
    calls: list[tuple[int, FakeCall]] = []

    def ask(worker: int) -> None:
        barrier.wait()
        for round_ in range(40):
            number = (round_ * 7 + worker) % 5
            calls.append((number, submit(model, numbers(number, 1 + number * 4, request_id=f"{worker}.{round_}"))))

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, call in calls:
        call.wait()
        assert call.arrays[0].tolist() == (rows_of(number, 1 + number * 4) * 2).tolist()
    assert len({call.response.id for _, call in calls}) == 16 * 40
    counted = snapshot(model)
    assert counted.success.count == 16 * 40
    assert counted.cache_hit.count + counted.cache_miss.count == 16 * 40
    assert model.drain(PATIENCE_S)
    assert not model._cache._leaders  # type: ignore[union-attr]


def _raising(_feeds: Any) -> list[Array]:
    raise ExecutionFailed("no")
