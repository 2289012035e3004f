"""The end of a server: what was accepted is answered, what comes later is refused; and the choice of the transport."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from sardonyx_server.errors import CannotListen, SettingsError
from sardonyx_server.rpc.lane.proxy.shutdown_status import SHUTDOWN_STATUS
from sardonyx_server.rpc.other_rpcs.reflection import REFLECTION_SERVICES
from sardonyx_wire.messages import ModelInferResponse
from tests.e2e.messages import arrays_of, encoded, failure_of, gate_request, infer_request
from tests.e2e.servers import INFER, TRANSPORTS, Server, eventually
from tests.server.rpc.transports import stopped_codes

ONLY_TWO: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("gate", "affine")}
BOUND_S = 60.0


@pytest.fixture(params=TRANSPORTS)
def own(request: pytest.FixtureRequest, models: Path) -> Any:
    """A server that the test may stop."""
    with Server(models, request.param, **ONLY_TWO) as running:
        yield running


def test_a_stop_waits_for_what_runs_and_for_what_waits(own: Server) -> None:
    """Readiness goes off at once; the queue is worked off; the answer is that all was finished."""
    finished: list[bool] = []
    with own.holding(gate_request()) as hold:
        waiting = [own.start_infer(gate_request([[k, k]])) for k in range(5)]
        eventually(lambda: own.model("gate").queue.rows == 5, "five requests wait")
        stopper = threading.Thread(target=lambda: finished.append(own.stop(BOUND_S)))
        stopper.start()
        eventually(lambda: not own.app._is_ready(), "readiness is off")
        hold.release()
        for k, call in enumerate(waiting):
            y = arrays_of(ModelInferResponse.FromString(call.result()))["y"]
            np.testing.assert_array_equal(y, [[k + 0.5, k + 0.5]])
    stopper.join(BOUND_S)
    assert finished == [True]
    assert own.refusal(gate_request(), timeout=1.0).code is grpc.StatusCode.UNAVAILABLE


def test_a_stop_under_load_loses_no_accepted_request(own: Server) -> None:
    """Eight callers that never pause: each gets answers, and at the end a refusal; never silence, never an error."""
    before = sum(one.requests for one in own.counters("affine"))
    counters = own.counters("affine")
    warm = threading.Barrier(9)
    request = encoded(infer_request("affine", x=np.ones((1, 4), np.float32)))

    def caller(_number: int) -> tuple[int, grpc.StatusCode]:
        with own.new_channel() as channel:
            call = channel.unary_unary(INFER)
            answered = 0
            while True:
                try:
                    call(request, timeout=BOUND_S)
                except grpc.RpcError as error:
                    failure: Any = error
                    return answered, failure.code()
                answered += 1
                if answered == 10:
                    warm.wait(BOUND_S)

    with ThreadPoolExecutor(8) as threads:
        ends = [threads.submit(caller, number) for number in range(8)]
        warm.wait(BOUND_S)
        finished = own.stop(2.0)
        results = [end.result() for end in ends]
    assert finished
    assert {code for _, code in results} <= stopped_codes(own.transport)
    assert sum(answered for answered, _ in results) == sum(one.requests for one in counters) - before


def test_a_second_stop_hurries(own: Server) -> None:
    """A run that does not end keeps nobody: its caller is told, and the stop returns."""
    finished: list[bool] = []
    hold = own.gate.hold("gate")
    call = own.start_infer(gate_request())
    assert hold.entered.wait(BOUND_S)
    stopper = threading.Thread(target=lambda: finished.append(own.stop(BOUND_S)))
    stopper.start()
    eventually(lambda: not own.app._is_ready(), "the stop has begun")
    own.app.kill()
    stopper.join(BOUND_S / 2)
    hold.release()
    stopper.join(BOUND_S)
    assert finished == [False]
    with pytest.raises(grpc.RpcError):
        call.result()


def test_a_stop_whose_time_is_up_ends_what_runs(own: Server) -> None:
    """The caller gets a status, not silence; on the lane one that says why."""
    hold = own.gate.hold("gate")
    call = own.start_infer(gate_request())
    assert hold.entered.wait(BOUND_S)
    assert not own.stop(0.1)
    failure = failure_of(call.exception())
    assert failure.code in stopped_codes(own.transport)
    if own.transport == "lane":
        assert failure.message == SHUTDOWN_STATUS.message
    hold.release()


def test_a_stop_with_idle_connections_does_not_wait_for_them(own: Server) -> None:
    """They have nothing in flight."""
    own.infer(gate_request())
    assert own.stop(BOUND_S)


@pytest.mark.parametrize("service", REFLECTION_SERVICES)
def test_a_stop_does_not_wait_for_reflection_that_stands_open(own: Server, service: str) -> None:
    """Tools keep the stream as long as they run, and ask nothing."""
    asked: SimpleQueue[bytes] = SimpleQueue()
    asked.put(ServerReflectionRequest(list_services="").SerializeToString())
    answers = own.channel.stream_stream(f"/{service}/ServerReflectionInfo")(iter(asked.get, None), timeout=BOUND_S)
    next(answers)
    stopper = threading.Thread(target=own.stop, args=(10 * BOUND_S,))
    stopper.start()
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    ended: Any = caught.value
    # It has had an answer, so it is reset.
    assert ended.code() in {*stopped_codes(own.transport), grpc.StatusCode.CANCELLED}
    stopper.join(BOUND_S)
    assert not stopper.is_alive()


def test_health_says_not_serving_when_a_stop_begins(own: Server) -> None:
    """So that a balancer sends nobody any more, while what is in flight is finished."""
    watch = own.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )(HealthCheckRequest(), timeout=BOUND_S)
    assert next(watch).status == HealthCheckResponse.SERVING
    with own.holding(gate_request()) as hold:
        stopper = threading.Thread(target=own.stop, args=(BOUND_S,))
        stopper.start()
        assert next(watch).status == HealthCheckResponse.NOT_SERVING
        assert not own.call("ServerReady").ready
        hold.release()
    stopper.join(BOUND_S)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stop_that_comes_before_the_start_is_one(models: Path, transport: str) -> None:
    """A signal may come while the server is made: it ended with "a bug", for nothing had been started yet."""
    app = Server(models, transport).app
    assert app.drain_and_stop(5.0)
    app.start()
    assert not app.address
    assert not app.registry.entries()


def test_a_port_in_use_is_said_in_one_line(own: Server, models: Path) -> None:
    """Not half of the connections taken away in silence."""
    port = int(own.app.address.rpartition(":")[2])
    with pytest.raises(CannotListen, match=f"^cannot listen on 127.0.0.1:{port}: the port is in use or "):
        Server(models, own.transport, grpc_port=port, **ONLY_TWO).app.start()


def test_the_fallback_is_taken_where_the_self_check_fails(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It says so, and serves all the same."""
    request = infer_request("affine", request_id="7", x=np.ones((3, 4), np.float32))
    with Server(models, "auto", self_check=lambda: "the echo differs", **ONLY_TWO) as fallback:
        assert fallback.app.transport == "grpcio"
        (record,) = [record for record in caplog.records if "public API" in record.message]
        assert record.levelno == logging.WARNING
        facts = vars(record)
        assert (facts["reason"], facts["grpcio"]) == ("the echo differs", grpc.__version__)
        answer = fallback.infer(request)
        fallback.assert_well()
    with Server(models, "auto", **ONLY_TWO) as usual:
        assert usual.app.transport == "lane"
        assert usual.infer(request) == answer


def test_a_lane_that_was_asked_for_and_does_not_work_is_an_error(models: Path) -> None:
    """Slow without being told is worse than not at all."""
    with pytest.raises(SettingsError, match=r"'lane' does not work here with grpcio .* \(the echo differs\)"):
        Server(models, "lane", self_check=lambda: "the echo differs", **ONLY_TWO)
