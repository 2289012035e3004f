"""Large, compressed and many messages; connections that ping; what the server says about itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from sardonyx_server.settings import MIB
from sardonyx_wire.messages import (
    METHODS,
    ModelConfigRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelReadyRequest,
)
from tests.e2e.messages import arrays_of, encoded, failure_of, infer_request
from tests.e2e.servers import CALL_TIMEOUT_S, INFER, MESSAGE_LIMIT_BYTES, Server


def test_20_mb_pass_both_ways(server: Server) -> None:
    """Unchanged."""
    x = np.random.default_rng(5).normal(size=5_000_000).astype(np.float32)
    answer = server.infer(infer_request("undeclared", x=x))
    assert answer.raw_output_contents[0] == x.tobytes()
    server.settle()


def test_a_compressed_request_is_understood(server: Server) -> None:
    """By gzip and deflate, as tritonclient offers them."""
    request = infer_request("affine", x=np.zeros((4, 4), np.float32))
    plain = server.infer(request)
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert server.infer(request, compression=compression) == plain
    large = infer_request("undeclared", x=np.zeros(4 * MIB // 4, np.float32))
    assert len(server.infer(large, compression=grpc.Compression.Gzip).raw_output_contents[0]) == 4 * MIB


def test_an_answer_above_the_limit_fails_its_call_only(server: Server) -> None:
    """A few bytes in, more than the limit out: the strings of a batch carry their lengths too."""
    rows = MESSAGE_LIMIT_BYTES // 4 - 8
    failure = server.refusal(infer_request("undeclared", request_id="i" * 64, x=np.zeros(rows, np.float32)))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    server.assert_well()


def test_64_callers_with_50_calls_each_get_their_own_answers(server: Server) -> None:
    """On four connections; two models, of which one gathers rows of several callers."""
    channels = [server.new_channel() for _ in range(4)]

    def caller(number: int) -> bool:
        call = channels[number % 4].unary_unary(INFER)
        for k in range(50):
            x = np.full((1 + k % 3, 4), number * 50 + k, np.float32)
            model = "add_sub" if k % 2 else "affine"
            request = infer_request(
                model,
                request_id=f"{number}-{k}",
                **({"a": x.astype(np.int32), "b": x.astype(np.int32)} if k % 2 else {"x": x}),
            )
            answer = ModelInferResponse.FromString(call(encoded(request), timeout=CALL_TIMEOUT_S))
            assert answer.id == f"{number}-{k}"
            outputs = arrays_of(answer)
            if k % 2:
                np.testing.assert_array_equal(outputs["sum"], 2 * x)
            else:
                np.testing.assert_allclose(outputs["y"][:, 1], -2 * x[:, 1] + 0.25)
        return True

    with ThreadPoolExecutor(64) as threads:
        assert all(threads.map(caller, range(64)))
    for channel in channels:
        channel.close()
    server.assert_well()


def test_answers_to_many_calls_at_once_find_their_requests(server: Server) -> None:
    """500 in flight on one connection, to a fast model and to one with a runner."""
    x = np.arange(500 * 4, dtype=np.float32).reshape(500, 1, 4)
    calls = [
        server.start_infer(infer_request("undeclared" if k % 5 == 0 else "affine", request_id=str(k), x=x[k]))
        for k in range(500)
    ]
    for k, call in enumerate(calls):
        answer = ModelInferResponse.FromString(call.result())
        assert answer.id == str(k)
        if k % 5 == 0:
            np.testing.assert_array_equal(arrays_of(answer)["y"], x[k])
    server.assert_well()


def test_readiness_metadata_and_config_agree(server: Server) -> None:
    """Of the server, and of a model that batches."""
    assert server.call("ServerMetadata").name == "sardonyx"
    assert server.call("ModelReady", ModelReadyRequest(name="affine", version="1")).ready
    metadata = server.call("ModelMetadata", ModelMetadataRequest(name="affine"))
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("affine", ["1", "3"], "onnxruntime_onnx")
    assert [(x.name, x.datatype, list(x.shape)) for x in metadata.inputs] == [("x", "FP32", [-1, 4])]
    config = server.call("ModelConfig", ModelConfigRequest(name="affine")).config
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("affine", 8, [4])


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "affine", "gate"])
def test_health_is_serving(server: Server, service: str) -> None:
    """The server, and each model by name."""
    raw = server.raw("/grpc.health.v1.Health/Check", HealthCheckRequest(service=service))
    assert HealthCheckResponse.FromString(raw).status == HealthCheckResponse.SERVING


def test_what_is_not_served_yet_says_so(server: Server) -> None:
    """Every RPC of the protocol answers something."""
    for method in METHODS.values():
        if method.client_streaming:
            continue  # See test_streams.py.
        try:
            server.raw(method.path, b"")
        except grpc.RpcError as error:
            failure = failure_of(error)
            codes = grpc.StatusCode
            assert failure.code in {codes.UNIMPLEMENTED, codes.NOT_FOUND, codes.INVALID_ARGUMENT}, method.name
            assert failure.details is not None
    server.assert_well()


def test_connections_that_come_and_go_leave_nothing(server: Server) -> None:
    """Fifty at once, each closed in the midst of a call."""
    request = encoded(infer_request("affine", x=np.ones((1, 4), np.float32)))
    started = threading.Barrier(10)

    def visit(_number: int) -> None:
        with server.new_channel() as channel:
            call = channel.unary_unary(INFER)
            call(request, timeout=CALL_TIMEOUT_S)
            started.wait(CALL_TIMEOUT_S)
            call.future(request, timeout=CALL_TIMEOUT_S)

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(visit, range(50)))
    server.assert_well()
