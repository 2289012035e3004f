"""ModelStreamInfer over the socket, with real models: order, errors within the stream, deadlines, many idle streams."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_wire.messages import ModelStatisticsRequest, ModelStreamInferResponse
from tests.e2e.bad_requests import BAD_REQUESTS
from tests.e2e.bad_streams import STREAM
from tests.e2e.messages import arrays_of, encoded, failure_of, gate_request, infer_request
from tests.e2e.servers import INFER, SHORT_S, Server, assert_safe, eventually
from tests.server.rpc.conversations import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sardonyx_wire.messages import ModelInferRequest

BOUND_S = 60.0
MARK = "triton_final_response"
ONLY_TWO: dict[str, Any] = {"model_control_mode": "explicit", "load_model": ("gate", "affine")}
# What any intake refuses, rather than grpc itself.
REFUSED = [row for row in BAD_REQUESTS if row.path == INFER and not row.from_core]


@pytest.fixture
def stream(server: Server) -> Iterator[Conversation]:
    """One stream, gone after the test."""
    conversation = open_stream(server)
    yield conversation
    conversation.close()
    server.settle()


def open_stream(server: Server, **options: Any) -> Conversation:
    """A stream to be closed."""
    return Conversation(server.channel, STREAM, timeout=options.pop("timeout", BOUND_S), **options)


def send(stream: Conversation, *requests: ModelInferRequest) -> None:
    """Send messages."""
    stream.send(*(encoded(each) for each in requests))


def mixed(count: int, seed: int) -> list[ModelInferRequest]:
    """Requests to several models, some cheap and some slow, some right and some wrong, of one to twenty rows."""
    chance = np.random.default_rng(seed)
    requests = []
    for number in range(count):
        rows = int(chance.integers(1, 21))
        x = chance.standard_normal((rows, 4)).astype(np.float32)
        match chance.integers(5):
            case 0:
                request = infer_request("affine", x=x)
            case 1:
                request = gate_request(x[:, :2], trips=int(chance.integers(2000)))
            case 2:
                request = infer_request("undeclared", x=x)
            case 3:
                request = infer_request("nobody", x=x)
            case _:
                request = gate_request(x[:1, :2], index=3)
        request.id = str(number)
        requests.append(request)
    return requests


def alone(server: Server, request: ModelInferRequest) -> ModelStreamInferResponse:
    """What a stream must answer to a request: what a unary call gives, or how it fails."""
    answer = ModelStreamInferResponse()
    try:
        answer.infer_response.CopyFrom(server.infer(request))
    except grpc.RpcError as error:
        answer.error_message = failure_of(error).message
        answer.infer_response.id = request.id
    answer.infer_response.parameters[MARK].bool_param = True
    return answer


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_answers_what_unary_calls_do_and_in_order(server: Server, stream: Conversation, seed: int) -> None:
    """60 requests to several models in one go; the slow ones hold up the answers of the others, and lose none."""
    requests = mixed(60, seed)
    send(stream, *requests)
    stream.half_close()
    answers = stream.rest()
    assert stream.code() is grpc.StatusCode.OK
    assert [one.infer_response.id for one in answers] == [str(k) for k in range(60)]
    assert answers == [alone(server, request) for request in requests]
    server.assert_well()


@pytest.mark.parametrize("as_status", [False, True])
@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.id)
def test_a_bad_request_fails_as_it_does_alone(server: Server, row: Any, as_status: bool) -> None:
    """Every row of the table: as a text within a stream that goes on, or as the status that ends it."""
    stream = open_stream(server, metadata=(("triton_grpc_error", "true" if as_status else "false"),))
    stream.send(encoded(row.make()), encoded(infer_request("affine", x=np.ones((1, 4), np.float32), request_id="next")))
    stream.half_close()
    answers = stream.rest()
    if as_status:
        assert answers == []
        failure = failure_of(stream.call)
        assert (failure.code, failure.fields) == (row.code, [row.field] if row.field else [])
        assert re.search(row.pattern, failure.message), failure.message
        assert_safe(failure)
    else:
        assert stream.code() is grpc.StatusCode.OK
        assert [bool(one.error_message) for one in answers] == [True, False]
        assert re.search(row.pattern, answers[0].error_message), answers[0].error_message
        assert not answers[0].infer_response.outputs
        assert answers[1].infer_response.id == "next"
    stream.close()
    server.assert_well()


def test_a_request_for_an_empty_final_response_is_accepted(stream: Conversation) -> None:
    """No model here gives more than one response to a request, so the one is the final one, and there is no other."""
    x = np.ones((1, 4), np.float32)
    send(stream, infer_request("affine", x=x, parameters={"triton_enable_empty_final_response": True}))
    send(stream, infer_request("affine", x=x))
    stream.half_close()
    answers = stream.rest()
    assert [one.infer_response.parameters[MARK].bool_param for one in answers] == [True, True]
    assert [len(one.infer_response.outputs) for one in answers] == [1, 1]


def test_requests_of_one_stream_share_a_batch(server: Server, stream: Conversation) -> None:
    """What is sent while the model is busy waits together, as it does from many callers."""
    with server.holding(gate_request()) as hold:
        before = server.runs("gate")
        send(stream, *(gate_request([[k, k]]) for k in range(8)))
        eventually(lambda: server.model("gate").queue.rows == 8, "eight requests wait")
        hold.release()
        for k in range(8):
            y = arrays_of(stream.read().infer_response)["y"]
            np.testing.assert_array_equal(y, [[k + 0.5, k + 0.5]])
    # The held one, and those for the eight.
    assert server.runs("gate") <= before + 1 + server.runs_of("gate", 8)


@pytest.mark.parametrize("end", ["cancel", "deadline"])
def test_requests_of_a_stream_that_is_given_up_do_not_run(server: Server, end: str) -> None:
    """Neither those that wait nor those that come later."""
    with server.holding(gate_request()) as hold:
        before = sum(one.rows for one in server.counters("gate"))
        stream = open_stream(server, timeout=SHORT_S if end == "deadline" else BOUND_S)
        send(stream, *(gate_request() for _ in range(5)))
        eventually(lambda: server.model("gate").queue.rows == 5, "five requests wait")
        if end == "cancel":
            stream.call.cancel()
        assert stream.rest() == []
        expected = grpc.StatusCode.CANCELLED if end == "cancel" else grpc.StatusCode.DEADLINE_EXCEEDED
        assert stream.code() is expected
        waiting = [
            job
            for level in server.model("gate").queue._pending.levels.values()
            for jobs in level.buckets.values()
            for job in jobs
        ]
        eventually(lambda: all(job.call.cancelled for job in waiting), "the server knows")
        hold.release()
    server.settle()
    assert sum(one.rows for one in server.counters("gate")) == before + 1
    stream.close()
    server.assert_well()


def test_answers_on_streams_are_counted_as_responses(server: Server, stream: Conversation) -> None:
    """Beside the requests; unary calls give none."""

    def figures() -> tuple[int, int, int]:
        (of,) = server.call("ModelStatistics", ModelStatisticsRequest(name="affine", version="3")).model_stats
        responses = of.response_stats["0"]
        return responses.success.count, responses.fail.count, of.inference_stats.success.count

    good, bad, requests = figures()
    x = np.ones((1, 4), np.float32)
    send(stream, *(infer_request("affine", x=x) for _ in range(3)), infer_request("affine", x=x[:, :2]))
    stream.half_close()
    assert [bool(one.error_message) for one in stream.rest()] == [False, False, False, True]
    server.infer(infer_request("affine", x=x))
    assert figures() == (good + 3, bad + 1, requests + 4)


def test_a_full_queue_is_told_within_the_stream(models: Path, server: Server) -> None:
    """The stream goes on; its caller may send the request again."""
    with Server(models, server.transport, max_queue_rows_per_model=2, **ONLY_TWO) as small:
        stream = open_stream(small)
        with small.holding(gate_request()):
            waiting = [small.start_infer(gate_request()) for _ in range(2)]
            eventually(lambda: small.model("gate").queue.rows == 2, "two wait")
            send(stream, gate_request(request_id="refused"))
            refused = stream.read()
        assert refused.infer_response.id == "refused"
        assert refused.error_message.startswith("the queue of model 'gate' is full")
        for call in waiting:
            call.result()
        send(stream, gate_request(request_id="again"))
        assert stream.ids(1) == ["again"]
        stream.close()


def test_idle_streams_keep_nobody_waiting(server: Server) -> None:
    """As many as the transport takes: health, metadata, ModelInfer and another stream go on."""
    many = 300 if server.transport == "lane" else 64
    server.assert_well()
    streams = [open_stream(server, timeout=120.0) for _ in range(many)]
    eventually(lambda: server.gauges()["open calls"] == many, "all streams are open")
    assert server.call("ServerReady").ready
    assert server.call("ModelMetadata", b"\x0a\x06affine").name == "affine"
    assert server.raw("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    x = np.ones((1, 4), np.float32)
    expected = server.infer(infer_request("affine", x=x))
    for stream in (streams[0], streams[-1]):
        send(stream, infer_request("affine", x=x))
        assert stream.read().infer_response.raw_output_contents == expected.raw_output_contents
    for stream in streams:
        stream.half_close()
    for stream in streams:
        assert stream.rest() == []
        assert stream.code() is grpc.StatusCode.OK
    server.assert_well()


def test_a_stop_ends_idle_streams_at_once_and_answers_the_others(models: Path, server: Server) -> None:
    """No idle stream keeps the server from stopping; what was taken is answered, then its caller told to go."""
    finished: list[bool] = []
    with Server(models, server.transport, **ONLY_TWO) as own:
        idle, busy = open_stream(own), open_stream(own)
        with own.holding(gate_request()) as hold:
            send(busy, gate_request(request_id="a"), gate_request(request_id="b"))
            eventually(lambda: own.model("gate").queue.rows == 2, "two requests wait")
            stopper = threading.Thread(target=lambda: finished.append(own.stop(BOUND_S)))
            stopper.start()
            assert idle.rest() == []
            assert idle.code() is grpc.StatusCode.UNAVAILABLE
            hold.release()
            assert busy.ids(2) == ["a", "b"]
            assert busy.rest() == []
            assert busy.code() is grpc.StatusCode.UNAVAILABLE
        stopper.join(BOUND_S)
        assert finished == [True]
        for stream in (idle, busy):
            stream.close()


def test_a_stop_does_not_wait_longer_for_a_slow_reader_than_it_may(models: Path, server: Server) -> None:
    """Its answers wait for it in vain."""
    with Server(models, server.transport, **{**ONLY_TWO, "load_model": ("undeclared",)}) as own:
        stream = open_stream(own)
        x = np.zeros((1, 2**18), np.float32)
        send(stream, *(infer_request("undeclared", x=x) for _ in range(20)))
        eventually(lambda: sum(one.requests for one in own.counters("undeclared")) >= 8, "answers wait")
        assert own.stop(0.2)
        codes = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        stream.rest()
        assert stream.code() in codes
        stream.close()


def test_compression_of_both_ways_of_a_stream(server: Server) -> None:
    """Whole streams, and as many bytes as came."""
    x = np.zeros((50, 4), np.float32)
    requests: Sequence[ModelInferRequest] = [infer_request("affine", x=x, request_id=str(k)) for k in range(5)]
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        stream = open_stream(server, compression=compression)
        send(stream, *requests)
        stream.half_close()
        assert stream.rest() == [alone(server, request) for request in requests]
        stream.close()
    server.assert_well()
