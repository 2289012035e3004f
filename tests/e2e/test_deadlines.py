"""Deadlines and cancellation over the socket: whoever has given up costs no run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_wire.messages import ModelInferResponse
from tests.e2e.messages import arrays_of, gate_request, infer_request
from tests.e2e.servers import CALL_TIMEOUT_S, SHORT_S, Server, assert_safe, eventually

if TYPE_CHECKING:
    from sardonyx_server.engine.batching.queue import BatchQueue


def queue_of(server: Server) -> BatchQueue:
    """The queue of ``gate``."""
    return server.model("gate").queue


def rows_run(server: Server) -> int:
    """Rows that ``gate`` has answered."""
    return sum(one.rows for one in server.counters("gate"))


def code_of(call: Any) -> grpc.StatusCode:
    """How a call ended; blocks until it has."""
    with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
        call.result()
    code: grpc.StatusCode = call.code()
    return code


def test_a_request_whose_deadline_passes_while_it_waits_does_not_run(server: Server) -> None:
    """The caller gets DEADLINE_EXCEEDED at its time, the runner throws the request away."""
    with server.holding(gate_request()) as hold:
        late = server.start_infer(gate_request(), timeout=SHORT_S)
        eventually(lambda: queue_of(server).rows == 1, "the request waits")
        assert code_of(late) is grpc.StatusCode.DEADLINE_EXCEEDED
        patient = server.start_infer(gate_request())
        eventually(lambda: queue_of(server).rows == 2, "another one waits")
        before = rows_run(server)
        hold.release()
        patient.result()
    # The one that was held, and the patient one.
    eventually(lambda: rows_run(server) == before + 2, "two rows ran")
    server.assert_well()


def test_a_large_request_that_would_wait_in_vain_is_refused_when_it_comes(server: Server) -> None:
    """Again and again, on a connection that carries the next one as before."""
    large = gate_request(np.ones((8000, 2), np.float32))
    server.infer(large)
    with server.holding(gate_request()) as hold:
        waiting = server.start_infer(gate_request())
        eventually(lambda: queue_of(server).rows == 1, "the request waits")
        # As if a backlog had taught it: the next run corrects that.
        queue_of(server)._service_rate.row_s = 100.0
        for _ in range(20):
            failure = server.refusal(large, timeout=10.0)
            assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_TOO_LONG")
            assert_safe(failure)
        hold.release()
        waiting.result()
    y = arrays_of(server.infer(large))["y"]
    np.testing.assert_array_equal(y, np.full((8000, 2), 1.5))
    server.assert_well()


def test_a_deadline_of_a_millisecond_is_kept(server: Server) -> None:
    """The model is busy for longer."""
    with server.holding(gate_request()) as hold:
        before = rows_run(server)
        assert server.refusal(gate_request(), timeout=0.001).code is grpc.StatusCode.DEADLINE_EXCEEDED
        hold.release()
    eventually(lambda: rows_run(server) == before + 1, "the held one ran")
    server.assert_well()
    assert rows_run(server) == before + 1


def test_a_deadline_that_has_passed_already_reaches_no_model(server: Server) -> None:
    """Also on a model that runs at once."""
    before = sum(one.requests for one in server.counters("affine"))
    request = infer_request("affine", x=np.ones((1, 4), np.float32))
    failure = server.refusal(request, timeout=-1)
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    server.settle()
    assert sum(one.requests for one in server.counters("affine")) == before
    server.assert_well()


def test_a_request_that_is_cancelled_in_the_queue_does_not_run(server: Server) -> None:
    """The close of the call is seen before the runner comes."""
    with server.holding(gate_request()) as hold:
        calls = [server.start_infer(gate_request()) for _ in range(3)]
        eventually(lambda: queue_of(server).rows == 3, "three requests wait")
        calls[1].cancel()
        waiting = [
            job
            for level in queue_of(server)._pending.levels.values()
            for jobs in level.buckets.values()
            for job in jobs
        ]
        eventually(lambda: sum(job.call.cancelled for job in waiting) == 1, "the server knows of the cancellation")
        before = rows_run(server)
        hold.release()
        for kept in (calls[0], calls[2]):
            kept.result()
    assert code_of(calls[1]) is grpc.StatusCode.CANCELLED
    eventually(lambda: rows_run(server) == before + 3, "the held one and two others ran")
    server.assert_well()


def test_a_request_that_is_cancelled_while_it_runs_hurts_nobody(server: Server) -> None:
    """The run is finished, its answer goes nowhere, and the others of its batch get theirs."""
    with server.holding(gate_request()) as first:
        calls = [server.start_infer(gate_request([[k, k]])) for k in range(3)]
        eventually(lambda: queue_of(server).rows == 3, "three requests wait")
        second = server.gate.hold("gate")
        first.release()
        assert second.entered.wait(CALL_TIMEOUT_S), "the three run"
        calls[1].cancel()
        second.release()
        for k in (0, 2):
            y = arrays_of(ModelInferResponse.FromString(calls[k].result()))["y"]
            np.testing.assert_array_equal(y, [[k + 0.5, k + 0.5]])
    assert code_of(calls[1]) is grpc.StatusCode.CANCELLED
    server.assert_well()


def test_cancelling_before_the_queue_and_after_the_answer_changes_nothing(server: Server) -> None:
    """At once, and too late."""
    for _ in range(20):
        server.start_infer(gate_request()).cancel()
    answered = server.start_infer(gate_request())
    answered.result()
    answered.cancel()
    assert answered.code() is grpc.StatusCode.OK
    server.assert_well()


def test_the_timeout_parameter_is_no_deadline_without_a_queue_policy(server: Server) -> None:
    """Triton heeds it where the model's queue policy allows to override; the request is answered."""
    with server.holding(gate_request()) as hold:
        request = gate_request()
        request.parameters["timeout"].int64_param = 1
        call = server.start_infer(request)
        eventually(lambda: queue_of(server).rows == 1, "the request waits")
        hold.release()
        call.result()
    server.assert_well()


def test_a_full_queue_refuses_with_a_time_to_come_back(models_with_small_queue: Server) -> None:
    """UNAVAILABLE with RetryInfo, and the same for grpc's own retries."""
    server = models_with_small_queue
    with server.holding(gate_request()) as hold:
        waiting = [server.start_infer(gate_request()) for _ in range(2)]
        eventually(lambda: queue_of(server).rows == 2, "the queue is full")
        failure = server.refusal(gate_request())
        hold.release()
        for call in waiting:
            call.result()
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "OVERLOADED"
    assert failure.message == "the queue of model 'gate' is full: at most 2 rows may wait, 2 do; retry later"
    assert failure.retry_after_s > 0
    assert int(failure.trailing["grpc-retry-pushback-ms"]) == round(failure.retry_after_s * 1000)
    assert_safe(failure)
    server.assert_well()


@pytest.fixture(params=["lane", "grpcio"])
def models_with_small_queue(request: pytest.FixtureRequest, models: Any) -> Any:
    """A server in whose queues two rows may wait."""
    only: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("gate", "affine")}
    with Server(models, request.param, max_queue_rows_per_model=2, **only) as running:
        yield running
