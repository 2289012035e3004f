"""Whatever requests come together, each caller gets what it gets alone. With onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_server.engine.running.model import Model
from sardonyx_server.runtime.ort_session import OrtSession
from sardonyx_server.runtime.session import open_session
from sardonyx_wire.messages import ModelInferRequest
from tests.e2e.servers import eventually
from tests.server.engine.doubles import (
    PATIENCE_S,
    Array,
    FakeCall,
    HandClock,
    HandLane,
    message,
    model_of,
    policy,
    publish,
)

IRIS = Path(__file__).parents[4] / "models" / "iris" / "1" / "model.onnx"
MAX_ROWS = 8

Request = tuple[int, int]  # rows, columns


def exact_model() -> bytes:
    """A model of sum = x + x, same = x, text = t: no rounding, so answers are equal bit for bit whatever the batch."""

    def info(name: str, kind: int, *dims: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, dims)

    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "x"], ["sum"]),
            helper.make_node("Identity", ["x"], ["same"]),
            helper.make_node("Identity", ["t"], ["text"]),
        ],
        "exact",
        [info("x", onnx.TensorProto.FLOAT, "N", "C"), info("t", onnx.TensorProto.STRING, "N")],
        [
            info("sum", onnx.TensorProto.FLOAT, "N", "C"),
            info("same", onnx.TensorProto.FLOAT, "N", "C"),
            info("text", onnx.TensorProto.STRING, "N"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@cache
def session(which: str) -> OrtSession:
    """Opened once for all examples."""
    return open_session(name="m", model_bytes=exact_model() if which == "exact" else IRIS.read_bytes())


def served(
    which: str,
    *,
    runners: int = 0,
    lane: HandLane | None = None,
    lane_rows: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Intake, Model]:
    """A model and its way in."""
    opened = session(which)
    model = model_of(
        opened,
        of=Signature(model_name="m", version=1, inputs=opened.inputs, outputs=opened.outputs, has_batch_axis=True),
        batching=policy(max_rows=MAX_ROWS, lane_rows=lane_rows),
        runners=runners,
        lane=lane,
    )
    registry = Registry()
    publish(registry, model)
    return Intake(registry, clock=clock), model


def exact_request(rng: np.random.Generator, rows: int, columns: int, name: str) -> ModelInferRequest:
    """Any bits as numbers, NaN and infinity too; strings of any length."""
    x = rng.integers(0, 2**32, (rows, columns), dtype=np.uint32).view(np.float32)
    texts = np.array(["é\0x"[: rng.integers(0, 4)] * rng.integers(1, 9) for _ in range(rows)], object)
    return message({"x": x, "t": texts}, request_id=name)


def iris_request(rng: np.random.Generator, rows: int, name: str) -> ModelInferRequest:
    """Plants."""
    only = session("iris").inputs[0].name
    return message({only: rng.random((rows, 4), dtype=np.float32) * 8}, request_id=name)


def alone(intake: Intake, request: ModelInferRequest) -> FakeCall:
    """The request with nothing beside it."""
    call = FakeCall()
    intake.accept(request.SerializeToString(), call)
    intake.run_waiting()
    return call


forms = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=12)
# Where the thread that reads stops reading and lets the models run.
breaks = st.sets(st.integers(0, 11))
seeds = st.integers(0, 2**32 - 1)


@given(requests=forms, stops=breaks, seed=seeds)
@settings(deadline=None, max_examples=50)
def test_an_inline_model_gives_each_caller_bit_for_bit_what_it_gets_alone(
    requests: list[Request], stops: set[int], seed: int
) -> None:
    """Requests of several forms, larger than a batch too, read and run in any rhythm."""
    rng = np.random.default_rng(seed)
    intake, model = served("exact")
    made = [exact_request(rng, *form, name=str(index)) for index, form in enumerate(requests)]
    calls = [FakeCall() for _ in made]
    for index, (request, call) in enumerate(zip(made, calls, strict=True)):
        intake.accept(request.SerializeToString(), call)
        if index in stops:
            intake.run_waiting()
    intake.run_waiting()
    for request, call in zip(made, calls, strict=True):
        assert call.response == alone(intake, request).response
        assert call.response.raw_output_contents[1] == request.raw_input_contents[0]
        assert call.response.raw_output_contents[2] == request.raw_input_contents[1]
    assert (model.queue.rows, model.queue.message_bytes) == (0, 0)


@given(requests=forms, runners=st.integers(1, 3), seed=seeds)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_runners_give_each_caller_bit_for_bit_what_it_gets_alone(
    requests: list[Request], runners: int, seed: int
) -> None:
    """Several threads on one session, in whatever order the system runs them."""
    rng = np.random.default_rng(seed)
    intake, model = served("exact", runners=runners)
    model.start()
    made = [exact_request(rng, *form, name=str(index)) for index, form in enumerate(requests)]
    calls = [FakeCall() for _ in made]
    for request, call in zip(made, calls, strict=True):
        intake.accept(request.SerializeToString(), call)
    intake.run_waiting()
    for call in calls:
        call.wait()
    model.queue.close()
    for thread in model._threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    inline, _ = served("exact")
    for request, call in zip(made, calls, strict=True):
        assert call.response == alone(inline, request).response
    assert (model.queue.rows, model.queue.message_bytes) == (0, 0)


@given(
    requests=forms,
    stops=breaks,
    runners=st.integers(1, 2),
    lane_rows=st.integers(1, 2 * MAX_ROWS),
    late=st.sets(st.integers(0, 11)),
    seed=seeds,
)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_lane_and_runners_that_share_the_work_leave_nothing_and_answer_bit_for_bit(  # drawn
    requests: list[Request], stops: set[int], runners: int, lane_rows: int, late: set[int], seed: int
) -> None:
    """Whoever runs a batch, and whenever the lane gets to what runners leave it or hand back."""
    rng = np.random.default_rng(seed)
    lane, clock = HandLane(), HandClock()
    intake, model = served("exact", runners=runners, lane=lane, lane_rows=lane_rows, clock=clock)
    model.start()
    made = [exact_request(rng, *form, name=str(index)) for index, form in enumerate(requests)]
    calls = [FakeCall() for _ in made]
    for index, (request, call) in enumerate(zip(made, calls, strict=True)):
        intake.accept(request.SerializeToString(), call)
        if index in stops:
            intake.run_waiting()
            clock.now_s += 1.0
        if index not in late:
            lane.work(intake)
    intake.run_waiting()

    def all_answered() -> bool:
        # What the lane's loop does for as long as it lives.
        lane.work(intake)
        intake.run_waiting()
        return all(call.answers for call in calls)

    eventually(all_answered, "answered")
    model.queue.close()
    for thread in model._threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    inline, _ = served("exact")
    for request, call in zip(made, calls, strict=True):
        assert call.answers == 1
        assert call.response == alone(inline, request).response
    assert (model.queue.rows, model.queue.message_bytes, model.queue._in_flight.batches) == (0, 0, 0)


def singly(intake: Intake, request: ModelInferRequest) -> list[Array]:
    """The outputs of a request whose rows are sent one by one."""
    only = request.inputs[0]
    x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tuple(only.shape))
    answers = [alone(intake, message({only.name: row[None]})).arrays for row in x]
    return [np.concatenate(column) for column in zip(*answers, strict=True)]


def assert_close(given_: list[Array], expected: list[Array]) -> None:
    """Labels equal, probabilities within rounding: kernels differ by batch size."""
    for got, want in zip(given_, expected, strict=True):
        assert got.shape == want.shape
        if got.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
        else:
            assert got.tolist() == want.tolist()


@pytest.mark.parametrize("runners", [0, 2])
@given(data=st.data(), rows=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=seeds)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_iris_gives_each_caller_what_its_rows_get_one_by_one(
    runners: int, data: Any, rows: list[int], seed: int
) -> None:
    """A real model, whose sums depend on the batch in their last bits only."""
    rng = np.random.default_rng(seed)
    intake, model = served("iris", runners=runners)
    model.start()
    made = [iris_request(rng, count, str(index)) for index, count in enumerate(rows)]
    calls = [FakeCall() for _ in made]
    for request, call in zip(made, calls, strict=True):
        intake.accept(request.SerializeToString(), call)
        if not runners and data.draw(st.booleans()):
            intake.run_waiting()
    intake.run_waiting()
    for call in calls:
        call.wait()
    model.queue.close()
    inline, _ = served("iris")
    for request, call in zip(made, calls, strict=True):
        assert call.response.id == request.id
        assert_close(call.arrays, singly(inline, request))
