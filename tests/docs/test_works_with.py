"""The README's table of what works with the server: each row that is not another test file's."""

from __future__ import annotations

import asyncio
import importlib.metadata
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from sardonyx_client import Client, InvalidArgument
from sardonyx_server.app import App
from sardonyx_server.settings import Settings
from sardonyx_wire.messages import METHODS
from tests.docs.documents import README

FLOWER = [[5.1, 3.5, 1.4, 0.2]]
_WAIT_S = 60.0


def triton_input() -> Any:
    """One flower, as tritonclient wants it."""
    tensor = tritonclient.grpc.InferInput("X", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array(FLOWER, np.float32))
    return tensor


def test_the_readme_names_the_tritonclient_that_was_tried() -> None:
    """Major and minor version."""
    tried = ".".join(importlib.metadata.version("tritonclient").split(".")[:2])
    assert f"| `tritonclient.grpc` {tried}," in README.read_text("utf-8")


def test_tritonclient_infers_beside_our_client(address: str) -> None:
    """Both in one process, with the same answer."""
    with Client(address) as ours, tritonclient.grpc.InferenceServerClient(address) as theirs:
        answer = theirs.infer("iris", [triton_input()], request_id="7")
        assert answer.get_response().id == "7"
        np.testing.assert_array_equal(answer.as_numpy("probabilities"), ours.infer("iris", X=FLOWER)["probabilities"])


def test_tritonclient_infers_with_a_callback(address: str) -> None:
    """`async_infer`."""
    answers: list[Any] = []
    done = threading.Event()

    def on_answer(result: Any, error: Any) -> None:
        answers.append((result, error))
        done.set()

    with tritonclient.grpc.InferenceServerClient(address) as client:
        client.async_infer("iris", [triton_input()], callback=on_answer)
        assert done.wait(_WAIT_S)
    [(result, error)] = answers
    assert error is None
    assert result.as_numpy("label").tolist() == [0]


def test_tritonclient_infers_with_asyncio(address: str) -> None:
    """`tritonclient.grpc.aio`."""

    async def ask() -> Any:
        async with tritonclient.grpc.aio.InferenceServerClient(address) as client:
            return await client.infer("iris", [triton_input()])

    assert asyncio.run(ask()).as_numpy("label").tolist() == [0]


def test_tritonclient_reads_readiness_metadata_and_config(address: str) -> None:
    """What it asks about a server and a model."""
    with tritonclient.grpc.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris")
        assert client.get_server_metadata().name == "sardonyx"
        assert [each.name for each in client.get_model_metadata("penguins").inputs] == ["island", "sex", "measurements"]
        assert client.get_model_config("digits").config.max_batch_size == 64


def test_health_stubs_check_and_watch(address: str) -> None:
    """The stubs of grpcio-health-checking, for the server and for a model."""
    serving = health_pb2.HealthCheckResponse.SERVING
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "iris"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert stub.Check(request, timeout=_WAIT_S).status == serving
            watch = stub.Watch(request, timeout=_WAIT_S)
            assert next(watch).status == serving
            watch.cancel()


def test_reflection_client_finds_services_and_schema(address: str) -> None:
    """The client of grpcio-reflection."""
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in database.get_services()
        file = database.FindFileContainingSymbol("inference.ModelInferRequest")
        assert "ModelInferRequest" in [message.name for message in file.message_type]


def test_a_wrong_datatype_is_shown_with_the_right_one(address: str) -> None:
    """A message of the README's troubleshooting table that is put together."""
    with Client(address) as client, pytest.raises(InvalidArgument, match=r"expected FP32 \[-1,4\], got FP64 \[1,4\]"):
        client.infer("iris", X=np.array(FLOWER))


def test_a_message_above_the_limit_is_refused_by_grpc(tmp_path: Path) -> None:
    """A message of the README's troubleshooting table that is grpc's own."""
    app = App(Settings(model_repository=(tmp_path,), grpc_port=0, metrics_port=None, max_message_bytes=1024))
    app.start()
    try:
        with grpc.insecure_channel(app.address) as channel:
            infer: Any = channel.unary_unary(METHODS["ModelInfer"].path)
            with pytest.raises(grpc.RpcError) as caught:
                infer(bytes(2048), timeout=_WAIT_S)
    finally:
        app.drain_and_stop(5.0)
    status: Any = caught.value
    assert status.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in status.details()
