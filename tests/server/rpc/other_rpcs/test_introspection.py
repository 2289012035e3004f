"""The RPCs beside inference, over a real socket: answers, refusals, and that there are no others."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status as RpcStatus

from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.errors import Forbidden, Unauthenticated
from sardonyx_server.rpc.other_rpcs.introspection import EXTENSIONS, ServerInfo, extensions
from sardonyx_server.rpc.other_rpcs.methods import RPCS, InferenceRpc, UnaryRpc
from sardonyx_server.rpc.other_rpcs.reflection import SERVICES, served_descriptors
from sardonyx_wire.messages import (
    METHODS,
    ModelConfig,
    ModelConfigRequest,
    ModelConfigResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
)
from sardonyx_wire.tensors import TensorSpec
from tests.server.rpc.doubles import CALL_TIMEOUT_S, Asks, Running, failed, ready, running, some_registry

NO_MESSAGE = b"\x0a\xff"  # a string that is longer than the message


def every_method() -> list[Any]:
    """Descriptors of all methods of all services that reflection lists."""
    pool = served_descriptors()
    return [method for service in SERVICES for method in pool.FindServiceByName(service).methods]


def path_of(method: Any) -> str:
    """Full name of a method."""
    return f"/{method.containing_service.full_name}/{method.name}"


def is_hot(method: Any) -> bool:
    """Whether the lane or its fallback serves it: see the contract suites of calls and of streams."""
    return isinstance(RPCS.get(method.name), InferenceRpc)


def start(channel: grpc.Channel, path: str, message: bytes, *, request_stream: bool, response_stream: bool) -> Any:
    """A call whose outcome can be awaited, of any of the four kinds."""
    if request_stream and response_stream:
        both: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        return both(iter([message]), timeout=CALL_TIMEOUT_S)
    if response_stream:
        updates: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        return updates(message, timeout=CALL_TIMEOUT_S)
    unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return unary.future(message, timeout=CALL_TIMEOUT_S)


def outcome(server: Running, path: str, message: bytes = b"") -> tuple[grpc.StatusCode, str]:
    """How a call of any method ends: code and message."""
    method = next((each for each in every_method() if path_of(each) == path), None)
    call = start(
        server.channel,
        path,
        message,
        request_stream=method is not None and method.client_streaming,
        response_stream=method is not None and method.server_streaming,
    )
    return call.code(), call.details()


def refusal(server: Running, name: str, request: Any) -> grpc.Call:
    """The error of a call that must fail. It is the call too, which the stubs do not say of grpc.RpcError."""
    with pytest.raises(grpc.RpcError) as caught:
        server.call(name, request)
    error: Any = caught.value
    assert isinstance(error, grpc.Call)
    return error


def error_details(error: grpc.Call) -> RpcStatus:
    """The google.rpc.Status that came with an error."""
    return RpcStatus.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


def test_the_table_lists_every_rpc_of_the_contract_and_no_other() -> None:
    """An RPC that the contract gains must be put somewhere."""
    assert list(RPCS) == [name for name in METHODS if name in RPCS]
    assert set(RPCS) == set(METHODS)
    assert [name for name, rpc in RPCS.items() if isinstance(rpc, InferenceRpc)] == ["ModelInfer", "ModelStreamInfer"]
    assert all(rpc.answer.__name__ for rpc in RPCS.values() if isinstance(rpc, UnaryRpc))


def test_the_server_is_live() -> None:
    """ServerLive answers true."""
    with running() as server:
        assert server.call("ServerLive", ServerLiveRequest()) == ServerLiveResponse(live=True)


@pytest.mark.parametrize("value", [True, False])
def test_the_server_is_ready_when_its_rule_says_so(value: bool) -> None:
    """ServerReady asks the rule each time."""
    with running() as server:
        server.readiness.append(value)
        assert server.call("ServerReady", ServerReadyRequest()).ready is value


def test_the_server_says_its_name_version_and_what_works() -> None:
    """ServerMetadata, with the defaults."""
    with running() as server:
        assert server.call("ServerMetadata", ServerMetadataRequest()) == ServerMetadataResponse(
            name="sardonyx", version="1.2.3", extensions=list(EXTENSIONS)
        )


def test_shared_memory_is_among_the_extensions_where_it_works() -> None:
    """Each kind for itself, in order."""
    assert extensions(system_memory=False, cuda_memory=False) == EXTENSIONS
    more = ("system_shared_memory", "system_shared_memory(output_region)")
    assert extensions(system_memory=True, cuda_memory=False) == tuple(sorted((*EXTENSIONS, *more)))
    assert extensions(system_memory=False, cuda_memory=True) == tuple(sorted((*EXTENSIONS, "cuda_shared_memory")))


def test_the_operator_may_name_the_server() -> None:
    """For clients that check the name."""
    with running(info=ServerInfo(name="triton", version="2", extensions=())) as server:
        assert server.call("ServerMetadata", ServerMetadataRequest()) == ServerMetadataResponse(
            name="triton", version="2"
        )


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("iris", "", True),
        ("iris", "1", True),
        ("iris", "3", True),
        ("iris", "4", False),
        ("digits", "", False),
        ("digits", "1", False),
        ("wine", "", False),
    ],
)
def test_a_known_model_is_ready_or_not(name: str, version: str, expected: bool) -> None:
    """Loading and failed models are an answer, not an error."""
    with running() as server:
        assert server.call("ModelReady", ModelReadyRequest(name=name, version=version)).ready is expected


@pytest.mark.parametrize("request_type", [ModelReadyRequest, ModelMetadataRequest, ModelConfigRequest])
class TestOfModelAndVersion:
    """What ModelReady, ModelMetadata and ModelConfig have in common."""

    @pytest.mark.parametrize(
        ("name", "version"),
        [("nobody", ""), ("", ""), ("x" * 1_000_000, ""), ("a\nb", ""), ("iris", "99"), ("iris", "9" * 5000)],
    )
    def test_an_unknown_model_or_version_is_not_found(self, request_type: Any, name: str, version: str) -> None:
        """Whatever it is called."""
        with running() as server:
            error = refusal(server, request_type.__name__[: -len("Request")], request_type(name=name, version=version))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert len(error.details()) < 400
        assert error.details().isprintable()

    @pytest.mark.parametrize("version", ["abc", "-1", "0", "007", "1e9", "1.0", " 1", "1\n", "\u0661", "\x00"])
    def test_a_version_that_is_no_positive_integer_is_invalid(self, request_type: Any, version: str) -> None:
        """And the field is named as it is called in this request."""
        with running() as server:
            error = refusal(
                server, request_type.__name__[: -len("Request")], request_type(name="iris", version=version)
            )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "of model 'iris': expected a positive integer without leading zeros" in error.details()
        violation = BadRequest()
        assert any(each.Unpack(violation) for each in error_details(error).details)
        assert violation.field_violations[0].field == "version"

    def test_malformed_bytes_are_the_callers_fault(self, request_type: Any) -> None:
        """INVALID_ARGUMENT, with what was expected."""
        name = request_type.__name__[: -len("Request")]
        with running() as server:
            error = refusal(server, name, NO_MESSAGE)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == (
            f"request of {name}: expected a {name}Request, got 2 bytes that are none; "
            "compare the .proto file the caller was built from"
        )


def test_metadata_has_full_shapes_and_every_ready_version() -> None:
    """The batch axis is in the shapes; the version that is asked for decides the signature."""
    tensor = ModelMetadataResponse.TensorMetadata
    expected = ModelMetadataResponse(
        name="iris",
        versions=["1", "3"],
        platform="onnxruntime_onnx",
        inputs=[tensor(name="x", datatype="FP32", shape=[-1, 4])],
        outputs=[tensor(name="label", datatype="INT64", shape=[-1])],
    )
    with running() as server:
        assert server.call("ModelMetadata", ModelMetadataRequest(name="iris")) == expected
        assert server.call("ModelMetadata", ModelMetadataRequest(name="iris", version="1")) == expected


@pytest.mark.parametrize(("max_batch_size", "shape"), [(0, []), (8, [-1])])
def test_an_undeclared_shape_shows_no_more_than_the_batch_axis(max_batch_size: int, shape: list[int]) -> None:
    """The protocol has no word for it."""
    registry = Registry()
    spec = TensorSpec(name="x", datatype="FP32", shape=None)
    ready(registry, "m", inputs=(spec,), config=ModelConfig(name="m", max_batch_size=max_batch_size))
    with running(registry) as server:
        assert list(server.call("ModelMetadata", ModelMetadataRequest(name="m")).inputs[0].shape) == shape


def test_the_configuration_in_force_is_shown() -> None:
    """ModelConfig is the model's own."""
    config = ModelConfig(name="iris", platform="onnxruntime_onnx", max_batch_size=8)
    with running() as server:
        assert server.call("ModelConfig", ModelConfigRequest(name="iris")) == ModelConfigResponse(config=config)


@pytest.mark.parametrize("request_type", [ModelMetadataRequest, ModelConfigRequest])
def test_a_model_that_cannot_answer_is_unavailable_with_the_reason(request_type: Any) -> None:
    """Known, but loading or failed."""
    name = request_type.__name__[: -len("Request")]
    with running() as server:
        loads = refusal(server, name, request_type(name="digits"))
        fails = refusal(server, name, request_type(name="wine"))
    assert (loads.code(), loads.details()) == (grpc.StatusCode.UNAVAILABLE, "model 'digits' is not ready: loading")
    assert (fails.code(), fails.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "model 'wine' failed to load: the file is empty",
    )


@pytest.mark.parametrize(
    "path", ["/inference.GRPCInferenceService/Nothing", "/nothing.Service/Call", "/", "/inference.GRPCInferenceService"]
)
def test_an_unknown_method_is_unimplemented(path: str) -> None:
    """By grpc itself."""
    with running() as server:
        assert outcome(server, path) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


def test_every_method_of_every_service_asks_whether_the_call_is_allowed() -> None:
    """With the full name, metadata and peer, before anything is read; the hot path asks on its own queue."""
    asked: list[tuple[str, str]] = []

    def refuse(method: str, metadata: Any, peer: str) -> None:
        assert all(len(item) == 2 for item in metadata)
        asked.append((method, peer.split(":", 1)[0]))
        raise Forbidden(f"{method} is not for you")

    paths = [path_of(method) for method in every_method() if not is_hot(method)]
    with running(access_control=Asks(refuse)) as server:
        for path in paths:
            assert outcome(server, path, NO_MESSAGE) == (
                grpc.StatusCode.PERMISSION_DENIED,
                f"{path} is not for you",
            )
    assert asked == [(path, "ipv4") for path in paths]


def test_a_caller_shows_its_credentials_in_the_metadata() -> None:
    """The check sees what was sent."""

    def check(_method: str, metadata: Any, _peer: str) -> None:
        if ("authorization", "Bearer right") not in [tuple(item) for item in metadata]:
            raise Unauthenticated("no token; send 'authorization'")

    with running(access_control=Asks(check)) as server:
        live: grpc.UnaryUnaryMultiCallable[bytes, bytes] = server.channel.unary_unary(METHODS["ServerLive"].path)
        answer = live(b"", metadata=(("authorization", "Bearer right"),), timeout=CALL_TIMEOUT_S)
        assert ServerLiveResponse.FromString(answer).live
        error = refusal(server, "ServerLive", ServerLiveRequest())
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "no token; send 'authorization'")


def test_malformed_bytes_are_the_callers_fault_everywhere() -> None:
    """No method of any service answers INTERNAL to them."""
    with running() as server:
        for method in every_method():
            if isinstance(RPCS.get(method.name), InferenceRpc):
                continue
            code, text = outcome(server, path_of(method), NO_MESSAGE)
            assert (method.name, code) == (method.name, grpc.StatusCode.INVALID_ARGUMENT)
            assert text.startswith(f"request of {method.name}: expected a {method.input_type.name}, got 2 bytes")


def test_the_unforeseen_shows_nothing() -> None:
    """Neither text nor class of the exception."""

    def broken(_method: str, _metadata: Any, _peer: str) -> None:
        raise KeyError("secret")

    with running(access_control=Asks(broken)) as server:
        for method in every_method():
            if is_hot(method):
                continue
            code, text = outcome(server, path_of(method))
            assert code is grpc.StatusCode.INTERNAL
            assert text.startswith("internal error; quote error id ")
            assert "secret" not in text


def test_models_that_come_and_go_are_seen_at_once() -> None:
    """Nothing of the registry is kept."""
    registry = some_registry()
    request = ModelReadyRequest(name="new")
    with running(registry) as server:
        assert refusal(server, "ModelReady", request).code() is grpc.StatusCode.NOT_FOUND
        ready(registry, "new")
        assert server.call("ModelReady", request).ready
        failed(registry, "new", "broken")
        assert not server.call("ModelReady", request).ready
