"""Client and AsyncClient have the same names, arguments and behaviour."""

from __future__ import annotations

import inspect
import os
import threading
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_client import (
    AsyncClient,
    Client,
    ClientClosed,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from sardonyx_client._model import AsyncModel, Model, check_inputs
from sardonyx_client._repository import AsyncRepository, Repository
from sardonyx_client._shared_memory import AsyncSharedMemory, SharedMemory
from sardonyx_client._streams.async_stream import AsyncStream
from sardonyx_client._streams.stream import Stream
from sardonyx_client._timeout import CLIENT_DEFAULT
from sardonyx_client._values import ModelInfo
from sardonyx_wire.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
    ModelStatisticsResponse,
    RepositoryIndexResponse,
    RepositoryModelLoadRequest,
    RepositoryModelLoadResponse,
)
from sardonyx_wire.tensors import TensorSpec
from tests.client.servers import TinyServer, echo, hang, refuse, say

if TYPE_CHECKING:
    from collections.abc import Callable

TWINS = [
    (Client, AsyncClient),
    (Model, AsyncModel),
    (Repository, AsyncRepository),
    (SharedMemory, AsyncSharedMemory),
    (Stream, AsyncStream),
]


def public(kind: type) -> dict[str, Any]:
    """Methods and properties of a class by name."""
    return {name: member for name, member in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "asynchronous"), TWINS)
def test_twins_have_the_same_methods_with_the_same_arguments(sync: type, asynchronous: type) -> None:
    """Names, order, kinds, defaults and types."""
    ours, theirs = public(sync), public(asynchronous)
    assert ours.keys() == theirs.keys()
    for name, member in ours.items():
        if inspect.isfunction(member):
            found, twin = inspect.signature(member), inspect.signature(theirs[name])
            assert found.parameters == twin.parameters, name
    if sync is Client:
        assert inspect.signature(sync).parameters == inspect.signature(asynchronous).parameters


def test_inference_gives_arrays(make: Callable[..., Any]) -> None:
    """With the request's id, and how long it took."""
    with TinyServer(ModelInfer=echo) as server, make(server.address) as client:
        result = client.infer("m", {"odd name": np.arange(3)}, x=[[1.5]], request_id="r")
    np.testing.assert_array_equal(result["odd name"], [0, 1, 2])
    assert (result["x"].dtype, result.request_id) == (np.float32, "r")
    assert 0 < result.timings.call_s <= result.timings.total_s
    assert not result["x"].flags.writeable
    assert result.writable("x").flags.writeable


def test_many_requests_come_back_in_order(make: Callable[..., Any]) -> None:
    """Whatever the window."""
    with TinyServer(ModelInfer=echo) as server, make(server.address) as client:
        for window in (1, 3, 100):
            results = client.infer_many("m", ({"x": [number]} for number in range(20)), window=window)
            assert [int(result["x"][0]) for result in results] == list(range(20))


def test_the_first_of_many_that_fails_raises(make: Callable[..., Any]) -> None:
    """Results before it were given."""

    def answer(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
        if request.raw_input_contents[0] == np.int64(2).tobytes():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "two is wrong")
        return echo(request, context)

    with (
        TinyServer(ModelInfer=answer) as server,
        make(server.address) as client,
        pytest.raises(InvalidArgument, match="two is wrong"),
    ):
        list(client.infer_many("m", ({"x": [number]} for number in range(5))))


# gRPC sends a deadline of less than 10 s in steps of 100 ms, rounded up.
ROUNDING_S = 0.15

SIGNATURE = ModelMetadataResponse(
    name="m",
    versions=["1"],
    inputs=[ModelMetadataResponse.TensorMetadata(name="x", datatype="FP32", shape=[-1, 2])],
)


def test_a_handle_asks_for_the_signature_once_and_checks_arguments(make: Callable[..., Any]) -> None:
    """Lists take the model's dtype; what does not fit is refused by name and never sent."""
    with TinyServer(ModelInfer=echo, ModelMetadata=say(SIGNATURE)) as server, make(server.address) as client:
        model = client.model("m")
        assert model.infer(x=[[1, 2]])["x"].dtype == np.float32
        for wrong, text in [
            (np.zeros((1, 2)), r"input 'x' of model 'm': expected FP32 \[-1,2\], got FP64 \[1,2\]"),
            ([[1, 2, 3]], r"expected FP32 \[-1,2\], got FP32 \[1,3\]"),
            ([["a", "b"]], r"expected FP32 \[-1,2\], got BYTES \[1,2\]"),
        ]:
            with pytest.raises(InvalidArgument, match=text):
                model.infer(x=wrong)
        with pytest.raises(InvalidArgument, match=r"unknown input 'y' of model 'm': expected 'x' FP32 \[-1,2\]"):
            model.infer(y=[1])
    methods = [call.method.rpartition("/")[2] for call in server.calls]
    assert methods == ["ModelMetadata", "ModelInfer"]


@pytest.mark.parametrize(
    ("datatype", "fits", "wrong"),
    [("INT64", [1.0, 16777217.0], [1.7, 2]), ("UINT8", [0, 255], [0, 256]), ("BOOL", [0, 1], [0, 2])],
)
def test_what_a_list_holds_is_sent_or_refused_never_another_value(datatype: str, fits: Any, wrong: Any) -> None:
    """NumPy would cut fractions off, and take 2 for true."""
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1,))
    info = ModelInfo(name="m", versions=(), platform="", inputs=(spec,), outputs=())
    assert check_inputs(info, {"x": fits})["x"].tolist() == fits
    with pytest.raises(InvalidArgument, match=rf"input 'x' of model 'm': expected {datatype} \[-1\]: "):
        check_inputs(info, {"x": wrong})


def test_the_first_call_of_a_handle_has_one_deadline_for_both_of_its_calls(make: Callable[..., Any]) -> None:
    """Fetching the signature takes of the time that the inference has."""
    remaining_s: list[float] = []

    def signature(_request: object, context: grpc.ServicerContext) -> ModelMetadataResponse:
        remaining_s.append(context.time_remaining())
        threading.Event().wait(0.3)
        return SIGNATURE

    def infer(request: ModelInferRequest, context: grpc.ServicerContext) -> ModelInferResponse:
        remaining_s.append(context.time_remaining())
        return echo(request, context)

    with TinyServer(ModelInfer=infer, ModelMetadata=signature) as server, make(server.address, timeout_s=9) as client:
        for timeout_s, limit_s in ((CLIENT_DEFAULT, 9), (5, 5)):
            client.model("m").infer(x=[[1, 2]], timeout_s=timeout_s)
            first_s, second_s = remaining_s
            assert first_s <= limit_s + ROUNDING_S
            assert second_s <= limit_s - 0.3 + ROUNDING_S
            remaining_s.clear()


def test_errors_carry_the_request_id(make: Callable[..., Any]) -> None:
    """And grpc's exception as their cause only."""
    with (
        TinyServer(ModelInfer=refuse(grpc.StatusCode.NOT_FOUND, "no such model")) as server,
        make(server.address) as client,
        pytest.raises(NotFound, match="no such model") as raised,
    ):
        client.infer("m", request_id="r9")
    assert raised.value.request_id == "r9"
    assert isinstance(raised.value.__cause__, grpc.RpcError)


def test_unavailable_is_tried_again_within_the_deadline(make: Callable[..., Any]) -> None:
    """By default up to four times; never for other failures."""
    answers = [refuse(grpc.StatusCode.UNAVAILABLE, "busy")] * 2 + [echo]

    def busy(request: Any, context: grpc.ServicerContext) -> Any:
        return answers.pop(0)(request, context)

    with TinyServer(ModelInfer=busy) as server, make(server.address) as client:
        np.testing.assert_array_equal(client.infer("m", x=[1])["x"], [1])
    assert len(server.calls) == 3
    with (
        TinyServer(ModelInfer=refuse(grpc.StatusCode.UNAVAILABLE, "busy")) as server,
        make(server.address, retry=None) as client,
        pytest.raises(Unavailable, match="busy"),
    ):
        client.infer("m", x=[1])
    assert len(server.calls) == 1
    with (
        TinyServer(ModelInfer=refuse(grpc.StatusCode.INTERNAL, "broken")) as server,
        make(server.address) as client,
        pytest.raises(Exception, match="broken"),
    ):
        client.infer("m", x=[1])
    assert len(server.calls) == 1


def test_a_time_out_names_the_call_and_the_time(make: Callable[..., Any]) -> None:
    """Of the call or of the client; None means none."""
    with (
        TinyServer(ModelInfer=hang) as server,
        make(server.address, timeout_s=None) as client,
        pytest.raises(DeadlineExceeded, match=r"ModelInfer on .* gave no answer within 0\.05 s"),
    ):
        client.infer("m", timeout_s=0.05)


def test_a_token_is_asked_for_each_call(make: Callable[..., Any]) -> None:
    """And sent as bearer."""
    tokens = iter(["a", "b"])
    with TinyServer(ModelInfer=echo) as server, make(server.address, token=lambda: next(tokens)) as client:
        client.infer("m")
        client.infer("m")
    assert [dict(call.invocation_metadata)["authorization"] for call in server.calls] == ["Bearer a", "Bearer b"]


def test_a_hook_is_told_of_every_call(make: Callable[..., Any]) -> None:
    """Well or badly ended; and a hook that raises costs nobody an answer."""
    told: list[Any] = []
    with TinyServer(ModelInfer=echo) as server, make(server.address, on_call=told.append) as client:
        client.infer("m", x=[1])
        with pytest.raises(Exception, match=r"."):
            client.config("m")
    assert [(each.rpc, each.model, each.code) for each in told] == [
        ("ModelInfer", "m", "OK"),
        ("ModelConfig", "", "UNIMPLEMENTED"),
    ]
    assert told[0].request_bytes > 0 < told[0].response_bytes

    def fail(_record: object) -> None:
        raise RuntimeError("hook")

    with TinyServer(ModelInfer=echo) as server, make(server.address, on_call=fail) as client:
        assert client.infer("m", x=[1])["x"][0] == 1


def test_the_repository_is_indexed_loaded_and_unloaded(make: Callable[..., Any]) -> None:
    """Config as JSON, files as bytes."""
    entry = RepositoryIndexResponse.ModelIndex(name="m", version="1", state="READY")
    loads: list[RepositoryModelLoadRequest] = []

    def load(request: RepositoryModelLoadRequest, _context: object) -> RepositoryModelLoadResponse:
        loads.append(request)
        return RepositoryModelLoadResponse()

    with (
        TinyServer(RepositoryIndex=say(RepositoryIndexResponse(models=[entry])), RepositoryModelLoad=load) as server,
        make(server.address) as client,
    ):
        (found,) = client.repository.index()
        client.repository.load("m", config={"max_batch_size": 2}, files={"1/model.onnx": b"onnx"})
        with pytest.raises(InvalidArgument, match="files need a config"):
            client.repository.load("m", files={"1/model.onnx": b""})
    assert (found.name, found.version, found.state) == ("m", "1", "READY")
    assert loads[0].parameters["config"].string_param == '{"max_batch_size": 2}'
    assert loads[0].parameters["file:1/model.onnx"].bytes_param == b"onnx"


def test_statistics_are_plain_values(make: Callable[..., Any]) -> None:
    """Times in seconds."""
    answer = ModelStatisticsResponse()
    each = answer.model_stats.add(name="m", version="1", inference_count=8, execution_count=2, last_inference=1500)
    each.inference_stats.success.count = 4
    each.inference_stats.success.ns = 2_000_000_000
    with TinyServer(ModelStatistics=say(answer)) as server, make(server.address) as client:
        (found,) = client.statistics("m")
    assert (found.inference_count, found.execution_count, found.last_inference_s) == (8, 2, 1.5)
    assert found.success.mean_s == 0.5


def test_a_closed_client_says_so(make: Callable[..., Any]) -> None:
    """Closing can be repeated."""
    with TinyServer(ModelInfer=echo) as server, make(server.address) as client:
        client.close()
        client.close()
        with pytest.raises(ClientClosed, match="the client is closed"):
            client.infer("m")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_clear_error(make: Callable[..., Any]) -> None:
    """Instead of a hang in a connection that it does not have."""
    with make("127.0.0.1:1") as client:
        child = os.fork()
        if not child:
            code = 1
            try:
                client.infer("m")
            except ClientClosed as error:
                code = 0 if "fork" in error.message else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
