"""The verb ``infer`` against a server of a few lines: what it sends, what it prints, how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from sardonyx_server.cli.entry import run
from sardonyx_server.cli.exits import Exit
from sardonyx_wire.messages import (
    METHODS,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)


class Doubler(grpc.GenericRpcHandler):
    """Serves one model: y = 2 x, and the text it was sent. Keeps what came."""

    def __init__(self) -> None:
        self.requests: list[ModelInferRequest] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The two methods that the verb calls."""
        serve = {METHODS["ModelMetadata"].path: self._metadata, METHODS["ModelInfer"].path: self._infer}
        method = serve.get(details.method)
        return None if method is None else grpc.unary_unary_rpc_method_handler(method)

    def _metadata(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        if ModelMetadataRequest.FromString(message).name != "double":
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
        response = ModelMetadataResponse(name="double", versions=["1"], platform="test")
        response.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
        response.inputs.add(name="text", datatype="BYTES", shape=[-1])
        response.outputs.add(name="y", datatype="FP32", shape=[-1, 2])
        response.outputs.add(name="text", datatype="BYTES", shape=[-1])
        return response.SerializeToString()

    def _infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        request = ModelInferRequest.FromString(message)
        self.requests.append(request)
        rows = np.frombuffer(request.raw_input_contents[0], np.float32)
        response = ModelInferResponse(model_name="double", model_version="1", id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.outputs.add(name="text", datatype="BYTES", shape=request.inputs[1].shape)
        response.raw_output_contents.extend([(2 * rows).tobytes(), request.raw_input_contents[1]])
        return response.SerializeToString()


@pytest.fixture
def doubler() -> Doubler:
    """The service."""
    return Doubler()


@pytest.fixture
def url(doubler: Doubler) -> Iterator[str]:
    """Where it is served."""
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((doubler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_an_answer_is_printed_one_line_for_each_output(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, datatype, shape, values."""
    assert run(["infer", "double", "x=[1,2.5]", "text=hello", "--url", url]) == Exit.OK
    assert capsys.readouterr().out == "y  FP32 [1,2]  [[2.0, 5.0]]\ntext  BYTES [1]  ['hello']\n"


def test_json_says_the_same_for_programs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With model, version and id."""
    arguments = ["infer", "double", "text=ü", "x=[[1,2],[3,4]]", "--id", "seven", "--json", "--url", url]
    assert run(arguments) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {
        "model": "double",
        "version": "1",
        "id": "seven",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [[2.0, 4.0], [6.0, 8.0]]},
            {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["ü"]},
        ],
    }


def test_version_outputs_and_id_are_sent(url: str, doubler: Doubler) -> None:
    """Inputs in the model's order, whatever the order typed."""
    run(["infer", "double", "text=a", "x=@zeros", "--version", "1", "--outputs", "y,text", "--id", "i", "--url", url])
    (request,) = doubler.requests
    assert (request.model_version, request.id) == ("1", "i")
    assert [tensor.name for tensor in request.inputs] == ["x", "text"]
    assert [tensor.name for tensor in request.outputs] == ["y", "text"]


def test_a_value_that_does_not_fit_is_not_sent(url: str, doubler: Doubler, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2: the command line is wrong, not the server."""
    assert run(["infer", "double", "x=abc", "text=a", "--url", url]) == Exit.USAGE
    assert capsys.readouterr().err == "sardonyx: input 'x': 'abc' is not JSON: write a number or a nested list\n"
    assert doubler.requests == []


def test_a_status_of_the_server_is_one_line_and_exit_code_5(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The status by its name, the server's text, and the server."""
    assert run(["infer", "triple", "x=1", "--url", url]) == Exit.REQUEST_FAILED
    assert capsys.readouterr().err == f"sardonyx: NOT_FOUND: unknown model (server {url})\n"
