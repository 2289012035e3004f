"""What config.pbtxt says about instances, order, priorities, queues and warm-up, observed from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_server.engine.models.states import State
from sardonyx_wire.messages import ModelInferResponse
from tests.e2e.config_models import WARM_ROW, write_configured
from tests.e2e.messages import arrays_of, failure_of, infer_request
from tests.e2e.servers import CALL_TIMEOUT_S, TRANSPORTS, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from sardonyx_wire.messages import ModelInferRequest
    from tests.e2e.messages import Failure


def row(number: float, model: str, *, rows: int = 1, **parameters: int) -> ModelInferRequest:
    """A request that says in each of its rows which one it is."""
    x = np.full((rows, 2), number, np.float32)
    return infer_request(model, x=x, parameters=parameters)


def number_of(call: Any) -> float:
    """Whose answer it is; blocks until it is there."""
    return float(arrays_of(ModelInferResponse.FromString(call.result()))["y"][0, 0])


def failure_to(call: Any) -> Failure:
    """How a call failed; blocks until it has."""
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    return failure_of(caught.value)


def queued(server: Server, *requests: ModelInferRequest) -> list[Any]:
    """Begin calls one after the other, each when the one before it is in the queue. Nothing may run meanwhile."""
    calls = []
    for request in requests:
        queue = server.model(request.model_name).queue
        before = queue.rows
        calls.append(server.start_infer(request))
        eventually(lambda queue=queue, before=before: queue.rows > before, "the request waits")  # type: ignore[misc]
    return calls


def runs_of(server: Server, model: str) -> list[float]:
    """From now on, the number of each row in the order in which they run."""
    seen: list[float] = []
    server.gate.watch(model, lambda feeds: seen.extend(feeds["x"][:, 0].tolist()))
    return seen


def test_as_many_runs_are_in_flight_as_there_are_instances(configured: Server) -> None:
    """Two are in the model at the same time, and a third waits for one of them."""
    holds, calls = [], []
    for number in range(2):
        holds.append(configured.gate.hold("two_instances"))
        calls.append(configured.start_infer(row(number, "two_instances")))
        assert holds[-1].entered.wait(CALL_TIMEOUT_S), f"run {number} begins"
    calls += queued(configured, row(2, "two_instances"))
    assert not any(call.done() for call in calls)
    for hold in holds:
        hold.release()
    assert [number_of(call) for call in calls] == [0, 1, 2]
    configured.settle()


def test_without_preserve_ordering_a_fast_answer_overtakes_a_slow_one(configured: Server) -> None:
    """What the next test is measured against."""
    with configured.holding(row(0, "two_instances"), model="two_instances"):
        assert number_of(configured.start_infer(row(1, "two_instances"))) == 1
    configured.settle()


def test_answers_leave_in_the_order_of_the_requests(configured: Server) -> None:
    """The second run ends while the first is held; its answer waits for the first."""
    arrived: list[int] = []
    seen = runs_of(configured, "in_order")
    hold = configured.gate.hold("in_order")
    slow = configured.start_infer(row(0, "in_order"))
    slow.add_done_callback(lambda _call: arrived.append(0))
    assert hold.entered.wait(CALL_TIMEOUT_S), "the slow run begins"
    fast = []
    for number in (1, 2):
        fast.append(configured.start_infer(row(number, "in_order")))
        fast[-1].add_done_callback(lambda _call, number=number: arrived.append(number))
        eventually(lambda number=number: number in seen, "the fast run has ended")  # type: ignore[misc]
    assert not any(call.done() for call in fast)
    hold.release()
    assert [number_of(call) for call in (slow, *fast)] == [0, 1, 2]
    eventually(lambda: len(arrived) == 3, "all callers were told")
    # On grpcio's public API each answer has its own thread, and those that are free to go at once may change places.
    assert arrived == [0, 1, 2] or configured.transport == "grpcio"
    assert seen == [1, 2, 0]
    configured.settle()


def test_of_requests_that_wait_the_highest_priority_runs_first(configured: Server) -> None:
    """1 is the highest; none, and one that there is not, mean the default of 2; equals keep their order."""
    priorities = {1: 3, 2: 2, 3: 1, 4: 1, 5: 0, 6: 9}
    with configured.holding(row(0, "ranked"), model="ranked") as hold:
        requests = [row(number, "ranked", priority=priority) for number, priority in priorities.items()]
        calls = queued(configured, *requests)
        seen = runs_of(configured, "ranked")
        hold.release()
        assert [number_of(call) for call in calls] == list(priorities)
    assert seen == [0, 3, 4, 2, 5, 6, 1]
    configured.settle()


def test_each_priority_has_its_own_queue_policy(configured: Server) -> None:
    """Two may wait on level 2, which is the default; level 1 has no limit."""
    with configured.holding(row(0, "short_levels"), model="short_levels") as hold:
        calls = queued(configured, *(row(number, "short_levels") for number in (1, 2)))
        failure = configured.refusal(row(3, "short_levels"))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "OVERLOADED"
        assert failure.message == (
            "the queue of model 'short_levels' is full: at most 2 requests of this priority may wait, 2 do; retry later"
        )
        calls += queued(configured, *(row(number, "short_levels", priority=1) for number in (4, 5, 6)))
        hold.release()
        assert [number_of(call) for call in calls] == [1, 2, 4, 5, 6]
    configured.settle()


def test_a_request_that_is_cut_into_parts_is_one_request_in_the_queue(configured: Server) -> None:
    """``max_queue_size: 2`` takes two requests of eight rows, four runs each, and no third."""
    with configured.holding(row(0, "few_requests"), model="few_requests") as hold:
        calls = queued(configured, *(row(number, "few_requests", rows=8) for number in (1, 2)))
        assert configured.refusal(row(3, "few_requests")).reason == "OVERLOADED"
        hold.release()
        assert [number_of(call) for call in calls] == [1, 2]
    # And as both have left the queue, there is room again.
    assert number_of(configured.start_infer(row(4, "few_requests", rows=8))) == 4
    configured.settle()


def test_a_request_gives_up_its_place_after_its_own_timeout(configured: Server) -> None:
    """Where the policy allows it: UNAVAILABLE, and the model does not run for it. Others wait on."""
    with configured.holding(row(0, "impatient"), model="impatient") as hold:
        short, long = queued(configured, row(1, "impatient", timeout=1), row(2, "impatient"))
        seen = runs_of(configured, "impatient")
        hold.release()
        failure = failure_to(short)
        assert number_of(long) == 2
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "QUEUE_TIMEOUT"
    assert "in the queue of model 'impatient', longer than its queue policy allows" in failure.message
    assert seen == [0, 2]
    configured.settle()


def test_a_timeout_of_the_policy_holds_for_everybody(configured: Server) -> None:
    """A microsecond has passed when the runner comes. Of this level: the other one, which it is held with, has none."""
    with configured.holding(row(0, "hasty", priority=1), model="hasty") as hold:
        (late,) = queued(configured, row(1, "hasty", timeout=60_000_000))
        hold.release()
        assert failure_to(late).reason == "QUEUE_TIMEOUT"
    configured.settle()


def test_a_policy_need_not_heed_the_timeout_of_a_request(configured: Server) -> None:
    """``allow_timeout_override: false``."""
    with configured.holding(row(0, "stubborn"), model="stubborn") as hold:
        (patient,) = queued(configured, row(1, "stubborn", timeout=1))
        hold.release()
        assert number_of(patient) == 1
    configured.settle()


def test_a_request_past_its_timeout_goes_behind_the_others_where_the_policy_says_delay(configured: Server) -> None:
    """It is answered all the same."""
    with configured.holding(row(0, "postponing"), model="postponing") as hold:
        calls = queued(configured, row(1, "postponing", timeout=1), row(2, "postponing"), row(3, "postponing"))
        seen = runs_of(configured, "postponing")
        hold.release()
        assert [number_of(call) for call in calls] == [1, 2, 3]
    assert seen == [0, 2, 3, 1]
    configured.settle()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_warm_up_samples_have_run_before_the_model_is_ready(tmp_path: Path, transport: str) -> None:
    """As often as the config says, with the data of the file; no request is taken meanwhile."""
    only: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("warm",)}
    server = Server(write_configured(tmp_path), transport, **only)
    states: list[State] = []

    def ran(feeds: Mapping[str, NDArray[Any]]) -> None:
        if feeds["x"].tolist() == [WARM_ROW.tolist()] * 2:
            states.append(server.app.registry.entries()["warm"].versions[1].state)

    server.gate.watch("warm", ran)
    with server:
        assert states == [State.WARMING] * 3
        assert server.app.registry.entries()["warm"].versions[1].state is State.READY
        np.testing.assert_array_equal(
            arrays_of(server.infer(infer_request("warm", x=WARM_ROW[np.newaxis])))["y"], [WARM_ROW]
        )
        assert len(states) == 3
