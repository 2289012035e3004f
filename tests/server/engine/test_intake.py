"""Every message ends as one answer, whatever is in it and whatever happens to the model meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.running.model import Model
from sardonyx_server.errors import (
    InvalidRequest,
    ModelUnavailable,
    NotFound,
    Overloaded,
    ServerError,
)
from tests.server.engine.doubles import (
    FakeCall,
    FakeSession,
    HandClock,
    HandLane,
    doubling,
    message,
    model_of,
    policy,
    publish,
    rows_of,
    signature,
)


def bytes_of(rows: int = 2, **more: Any) -> bytes:
    """A right request, as it travels."""
    return message({"x": rows_of(0, rows)}, **more).SerializeToString()


def served(model: Model) -> tuple[Intake, Registry]:
    """An intake before one model."""
    registry = Registry()
    publish(registry, model)
    return Intake(registry), registry


def lent() -> tuple[Model, FakeSession]:
    """A model with a runner, which is not started, and whose batches of up to 8 rows are for the lane."""
    session = doubling()
    return model_of(session, runners=1, lane=HandLane(), batching=policy(max_rows=16, lane_rows=8)), session


class SwappingRegistry(Registry):
    """Where each look-up finds the next of these models, the last one for ever."""

    def __init__(self, *models: Model) -> None:
        super().__init__()
        self._models = list(models)
        self.looked_up = 0

    def find(self, route: tuple[str, str]) -> Model:
        """Count it."""
        self.looked_up += 1
        return self._models.pop(0) if len(self._models) > 1 else self._models[0]


def drained(**more: Any) -> Model:
    """A model that admits nothing more."""
    model = model_of(doubling(), **more)
    model.queue.close()
    return model


def test_requests_of_an_inline_model_run_together_when_all_are_read() -> None:
    """Accepting runs nothing."""
    session = doubling()
    intake, _ = served(model_of(session))
    calls = [FakeCall(), FakeCall()]
    for call in calls:
        intake.accept(bytes_of(), call)
    assert not session.runs
    intake.run_waiting()
    assert [len(feeds["x"]) for feeds in session.runs] == [4]
    assert [call.arrays[0].tolist() for call in calls] == [(rows_of(0, 2) * 2).tolist()] * 2
    intake.run_waiting()
    assert len(session.runs) == 1


def test_what_is_little_runs_here_once_no_other_model_has_been_asked_for_a_while() -> None:
    """Before that the runner is woken for it."""
    clock = HandClock()
    model, session = lent()
    registry = Registry()
    publish(registry, model)
    intake = Intake(registry, clock=clock)
    first, second = FakeCall(), FakeCall()
    intake.accept(bytes_of(), first)
    intake.run_waiting()
    assert not session.runs
    assert model.queue.take(wait=True) is not None
    assert not model.queue.finish(0.1, 1)
    clock.now_s += 1.0
    intake.accept(bytes_of(), second)
    intake.wake()
    assert not session.runs
    intake.run_waiting()
    assert len(session.runs) == 1
    assert second.answers == 1


@pytest.mark.parametrize("runners", [0, 1])
def test_what_is_little_is_for_runners_where_other_models_are_asked(runners: int) -> None:
    """Whether these run here or not, their callers do not wait for it."""
    clock = HandClock()
    model, session = lent()
    other = model_of(doubling(), of=signature(name="other"), runners=runners)
    registry = Registry()
    publish(registry, model)
    publish(registry, other, name="other")
    intake = Intake(registry, clock=clock)
    asked = [bytes_of(), bytes_of(model="other")]
    for request in (asked[:1], asked, asked[1:], asked[:1]):
        for each in request:
            intake.accept(each, FakeCall())
        intake.run_waiting()
        clock.now_s += 1.0
    assert not session.runs


def test_what_is_as_short_as_of_an_inline_model_runs_here_beside_other_models() -> None:
    """Of a model whose requests share no runs the lane has no more than that."""
    session = doubling()
    batching = policy(max_rows=1, lane_rows=2, dynamic_batching=False)
    model = model_of(session, runners=1, lane=HandLane(), batching=batching)
    registry = Registry()
    publish(registry, model)
    publish(registry, model_of(doubling(), of=signature(name="other"), runners=1), name="other")
    intake = Intake(registry)
    call = FakeCall()
    intake.accept(bytes_of(rows=1), call)
    intake.accept(bytes_of(rows=1, model="other"), FakeCall())
    intake.run_waiting()
    assert (len(session.runs), call.answers) == (1, 1)
    more = [FakeCall() for _ in range(3)]
    for each in more:
        intake.accept(bytes_of(rows=1), each)
    intake.run_waiting()
    assert len(session.runs) == 1, "three are for the runner"


def test_what_runners_have_left_is_looked_at() -> None:
    """As if requests had come."""
    clock = HandClock()
    model, session = lent()
    registry = Registry()
    publish(registry, model)
    intake = Intake(registry, clock=clock)
    intake.notify_pending(model)
    intake.run_waiting()
    clock.now_s += 1.0
    call = FakeCall()
    Intake(registry).accept(bytes_of(), call)
    intake.notify_pending(model)
    intake.run_waiting()
    assert (len(session.runs), call.answers) == (1, 1)


def test_the_answer_has_the_id_and_the_version_that_ran() -> None:
    """Whether the caller named a version or not."""
    intake, registry = served(model_of(doubling()))
    publish(registry, model_of(doubling(), of=signature(version=2)), version=2)
    calls = {version: FakeCall() for version in ("", "1", "2")}
    for version, call in calls.items():
        intake.accept(bytes_of(request_id=f"id{version}", version=version), call)
    intake.run_waiting()
    assert {version: call.response.model_version for version, call in calls.items()} == {"": "2", "1": "1", "2": "2"}
    assert calls["1"].response.id == "id1"


def test_a_call_that_waits_for_a_runner_is_watched_and_one_that_does_not_is_not() -> None:
    """Watching costs an event."""
    watched, not_watched = FakeCall(), FakeCall()
    served(model_of(doubling(), runners=1))[0].accept(bytes_of(), watched)
    served(model_of(doubling()))[0].accept(bytes_of(), not_watched)
    assert (watched.watched, not_watched.watched) == (1, 0)


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (b"\xff\xff", InvalidRequest, "the message is not a valid inference.ModelInferRequest"),
        (bytes_of()[:-1], InvalidRequest, "the message is not a valid inference.ModelInferRequest"),
        (b"", NotFound, "the model name is empty: this server has 'm'"),
        (bytes_of(model="n"), NotFound, "unknown model 'n': this server has 'm'"),
        (
            bytes_of(version="2"),
            NotFound,
            "unknown version '2' of model 'm': known versions are 1",
        ),
        (
            bytes_of(outputs=["z"]),
            InvalidRequest,
            "unknown output 'z' of model 'm': expected 'y'",
        ),
    ],
)
def test_a_bad_request_is_answered_and_the_next_one_runs(request_: bytes, error: type[ServerError], text: str) -> None:
    """Nothing is left behind."""
    model = model_of(doubling())
    intake, _ = served(model)
    bad, good = FakeCall(), FakeCall()
    intake.accept(request_, bad)
    assert type(bad.error) is error
    assert bad.error.message == text
    assert (model.queue.rows, model.queue.message_bytes) == (0, 0)
    intake.accept(bytes_of(), good)
    intake.run_waiting()
    assert good.arrays[0].tolist() == (rows_of(0, 2) * 2).tolist()


def test_a_malformed_message_has_a_reason_of_its_own() -> None:
    """For programs."""
    call = FakeCall()
    served(model_of(doubling()))[0].accept(b"\xff", call)
    assert call.error.reason == "MALFORMED_MESSAGE"


def test_a_full_queue_is_the_callers_answer() -> None:
    """And nobody's end."""
    intake, _ = served(model_of(doubling(), batching=policy(queue_rows=2)))
    calls = [FakeCall(), FakeCall()]
    for call in calls:
        intake.accept(bytes_of(), call)
    assert isinstance(calls[1].error, Overloaded)
    intake.run_waiting()
    assert calls[0].replies


def test_a_request_that_meets_a_drained_version_goes_to_the_one_that_took_its_place() -> None:
    """Neither the caller nor the old version hears of it."""
    new = model_of(doubling(), of=signature(version=2))
    registry = SwappingRegistry(drained(), new)
    intake, call = Intake(registry), FakeCall()
    intake.accept(bytes_of(), call)
    intake.run_waiting()
    assert call.response.model_version == "2"
    assert registry.looked_up == 2


def test_the_new_version_has_a_say_of_its_own() -> None:
    """The plan that the old one made is not used."""
    session = FakeSession(lambda feeds: [feeds["w"]])
    new = model_of(session, of=signature(signature().inputs[0], version=2, outputs=signature().outputs))
    other = model_of(doubling(), of=signature(version=2, has_batch_axis=False))
    for successor, rows in ((new, 2), (other, 1)):
        registry, call = SwappingRegistry(drained(), successor), FakeCall()
        Intake(registry).accept(bytes_of(), call)
        assert successor.queue.rows == rows


@pytest.mark.parametrize(("old_runners", "new_runners"), [(0, 1), (1, 0), (1, 1), (0, 0)])
def test_a_call_is_watched_once_at_most_however_often_it_is_looked_up(old_runners: int, new_runners: int) -> None:
    """And always where it ends up waiting for a runner."""
    call = FakeCall()
    new = model_of(doubling(), runners=new_runners)
    Intake(SwappingRegistry(drained(runners=old_runners), new)).accept(bytes_of(), call)
    assert call.watched == (1 if new_runners or old_runners else 0)
    assert call.answers == 0


def test_a_storm_of_reloads_is_the_callers_to_retry() -> None:
    """Three look-ups, then it is told."""
    registry, call = SwappingRegistry(drained()), FakeCall()
    Intake(registry).accept(bytes_of(), call)
    assert registry.looked_up == 3
    assert isinstance(call.error, QueueClosed)
    assert isinstance(call.error, ModelUnavailable)


def beginning_of(request: bytes) -> memoryview:
    """All but its last byte."""
    return memoryview(request)[:-1]


def full(**more: Any) -> tuple[Intake, Registry, Model]:
    """An intake before a model whose queue takes no more, and that has read one request."""
    model = model_of(doubling(), runners=1, batching=policy(queue_rows=2), **more)
    intake, registry = served(model)
    intake.accept(bytes_of(2), FakeCall())
    return intake, registry, model


def test_a_request_on_its_way_is_refused_where_its_queue_is_full() -> None:
    """And is counted for its model as one that has come."""
    intake, registry, model = full()
    call = FakeCall()
    assert intake.reserve(beginning_of(bytes_of(2, request_id="x")), call, 100) is None
    assert isinstance(call.error, Overloaded)
    assert model.failures.counts().rejections["queue_full"] == 1
    assert registry.refusals.counts().count == 0


@pytest.mark.parametrize(
    "beginning",
    [b"", b"\x0a", bytes_of(1), bytes_of(2)[:15], b"\xff" * 100],
    ids=["empty", "cut in a tag", "another header", "cut in the header", "broken"],
)
def test_a_request_of_which_nobody_knows_what_it_asks_for_may_come(beginning: bytes) -> None:
    """Only then it is known."""
    intake, _, _ = full()
    call = FakeCall()
    assert intake.reserve(memoryview(beginning), call, 100) is None
    assert not call.answers


def test_a_request_on_its_way_may_come_where_there_is_room() -> None:
    """Nothing is kept for it where nobody waits long."""
    intake, _ = served(model_of(doubling(), runners=1))
    intake.accept(bytes_of(2), FakeCall())
    call = FakeCall()
    assert intake.reserve(beginning_of(bytes_of(2)), call, 100) is None
    assert not call.answers


def test_a_request_on_its_way_to_a_model_that_is_gone_is_refused() -> None:
    """It belongs to no model."""
    intake, registry, _ = full()
    registry.drop("m")
    call = FakeCall()
    assert intake.reserve(beginning_of(bytes_of(2)), call, 100) is None
    assert isinstance(call.error, NotFound)
    assert registry.refusals.counts().count == 1


def test_a_request_on_its_way_to_a_version_that_drains_may_come() -> None:
    """By then there may be a newer one; and a plan of an older version says nothing of a newer."""
    intake, registry, model = full()
    model.queue.close()
    call = FakeCall()
    assert intake.reserve(beginning_of(bytes_of(2)), call, 100) is None
    publish(registry, model_of(doubling(), of=signature(version=2), runners=1), version=2)
    assert intake.reserve(beginning_of(bytes_of(2)), call, 100) is None
    assert not call.answers


def test_an_unforeseen_error_is_that_requests_answer() -> None:
    """It never reaches the thread that reads."""
    error = ZeroDivisionError("bug")

    class Broken(Registry):
        def find(self, route: tuple[str, str]) -> Model:
            raise error

    call = FakeCall()
    Intake(Broken()).accept(bytes_of(), call)
    assert call.error is error


def test_an_unforeseen_error_of_a_run_is_that_requests_answer() -> None:
    """Nor does one of the model."""
    error = ZeroDivisionError("bug")

    def answer(_: object) -> Any:
        raise error

    intake, call = served(model_of(FakeSession(answer)))[0], FakeCall()
    intake.accept(bytes_of(), call)
    intake.run_waiting()
    assert call.error is error


def test_a_runner_may_begin_with_a_burst_once_it_has_a_batch_that_pays() -> None:
    """With less it waits for the end of the burst, which comes soon: it would only fight for the interpreter."""
    model = model_of(doubling(), runners=1, batching=policy(max_rows=4, microbatch_rows=4))
    intake, _ = served(model)
    calls = [FakeCall() for _ in range(2)]
    intake.accept(bytes_of(), calls[0])
    intake.wake_early()
    enough = [model.has_full_microbatch]
    intake.accept(bytes_of(), calls[1])
    assert [*enough, model.has_full_microbatch] == [False, True]
    intake.wake_early()
    batch = model.queue.take(wait=True)
    assert batch is not None
    assert [one.call for one in batch.jobs] == calls


def test_the_wait_in_the_queue_counts_from_when_a_request_was_received() -> None:
    """Not from when its burst had been received to the end."""
    model = model_of(doubling())
    intake, _ = served(model)
    received_s = time.monotonic() - 5.0
    intake.accept(bytes_of(), FakeCall(), received_s)
    batch = model.queue.take(wait=False)
    assert batch is not None
    assert batch.jobs[0].arrived_s == received_s
