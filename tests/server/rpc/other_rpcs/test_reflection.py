"""Server reflection over a real socket, asked as grpcurl does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.reflection_pb2 import ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse

from sardonyx_server.rpc.other_rpcs.reflection import REFLECTION_SERVICES, SERVICES
from sardonyx_wire.messages import METHODS, ServerLiveRequest
from tests.server.rpc.doubles import CALL_TIMEOUT_S, Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.parametrize("service", REFLECTION_SERVICES)


def ask(server: Running, service: str, *requests: ServerReflectionRequest) -> list[ServerReflectionResponse]:
    """Answers of one stream."""
    call = server.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    return list(call(iter(requests), timeout=CALL_TIMEOUT_S))


def files(response: ServerReflectionResponse) -> list[FileDescriptorProto]:
    """Files of an answer."""
    return [FileDescriptorProto.FromString(file) for file in response.file_descriptor_response.file_descriptor_proto]


def test_every_service_is_listed(service: str) -> None:
    """Inference, health, and reflection under both names."""
    with running() as server:
        (answer,) = ask(server, service, ServerReflectionRequest(list_services=""))
    assert sorted(each.name for each in answer.list_services_response.service) == sorted(SERVICES)


@pytest.mark.parametrize("symbol", [*SERVICES, "inference.ModelInferRequest.InferInputTensor", "inference.ModelConfig"])
def test_a_symbol_comes_with_its_file_and_all_that_it_needs(service: str, symbol: str) -> None:
    """A pool can be built of the answer alone, as clients do."""
    with running() as server:
        (answer,) = ask(server, service, ServerReflectionRequest(file_containing_symbol=symbol))
    received = {file.name: file for file in files(answer)}
    pool = DescriptorPool()

    def add(file: FileDescriptorProto) -> None:
        for dependency in file.dependency:
            add(received[dependency])
        pool.AddSerializedFile(file.SerializeToString())

    for file in received.values():
        add(file)
    assert pool.FindFileContainingSymbol(symbol).name in received


def test_a_client_can_call_with_nothing_but_reflection(service: str) -> None:
    """What grpcurl does: descriptors from the server, then a call with messages made of them."""
    symbol = "inference.GRPCInferenceService"
    with running() as server:
        (answer,) = ask(server, service, ServerReflectionRequest(file_containing_symbol=symbol))
        pool = DescriptorPool()
        for file in sorted(files(answer), key=lambda file: len(file.dependency)):
            pool.AddSerializedFile(file.SerializeToString())
        methods = pool.FindServiceByName(symbol).methods_by_name
        assert list(methods) == list(METHODS)
        response: Any = GetMessageClass(methods["ServerMetadata"].output_type)
        call: grpc.UnaryUnaryMultiCallable[bytes, Any] = server.channel.unary_unary(
            f"/{symbol}/ServerMetadata", response_deserializer=response.FromString
        )
        assert call(b"", timeout=CALL_TIMEOUT_S).name == "sardonyx"


def test_a_file_is_found_by_its_name(service: str) -> None:
    """For clients that ask for dependencies one by one."""
    with running() as server:
        (answer,) = ask(server, service, ServerReflectionRequest(file_by_filename="inference/model_config.proto"))
    assert [file.package for file in files(answer)] == ["inference"]


@pytest.mark.parametrize(
    "request_",
    [
        ServerReflectionRequest(file_containing_symbol="inference.Nothing"),
        ServerReflectionRequest(file_containing_symbol=""),
        ServerReflectionRequest(file_containing_symbol="a\x00b\nc"),
        ServerReflectionRequest(file_containing_symbol="x" * 100_000),
        ServerReflectionRequest(file_containing_symbol="google.rpc.Status"),
        ServerReflectionRequest(file_by_filename="/etc/passwd"),
        ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type="inference.ModelConfig", extension_number=1)
        ),
        ServerReflectionRequest(all_extension_numbers_of_type="inference.Nothing"),
    ],
    ids=range(8),
)
def test_what_is_unknown_is_an_answer_and_the_stream_goes_on(service: str, request_: ServerReflectionRequest) -> None:
    """Nothing outside what is served can be asked for."""
    with running() as server:
        refused, listed = ask(server, service, request_, ServerReflectionRequest(list_services=""))
    assert refused.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert refused.original_request == request_
    assert listed.HasField("list_services_response")


def test_a_request_for_nothing_is_an_invalid_argument(service: str) -> None:
    """An empty request."""
    with running() as server:
        (answer,) = ask(server, service, ServerReflectionRequest())
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_idle_streams_keep_nothing_else_waiting(service: str) -> None:
    """They have threads of their own, fewer than there are streams here."""
    silence = [_Silence() for _ in range(5)]
    with running(threads=1) as server:
        call: grpc.StreamStreamMultiCallable[ServerReflectionRequest, bytes] = server.channel.stream_stream(
            f"/{service}/ServerReflectionInfo"
        )
        streams = [call(each, timeout=CALL_TIMEOUT_S) for each in silence]
        assert server.call("ServerLive", ServerLiveRequest()).live
        for stream, each in zip(streams, silence, strict=True):
            stream.cancel()
            each.end()


def test_a_caller_that_goes_away_is_no_error(service: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged, and others are answered."""
    silence = _Silence(ServerReflectionRequest(list_services=""))
    with running() as server:
        call: grpc.StreamStreamMultiCallable[ServerReflectionRequest, bytes] = server.channel.stream_stream(
            f"/{service}/ServerReflectionInfo", request_serializer=ServerReflectionRequest.SerializeToString
        )
        stream = call(silence, timeout=CALL_TIMEOUT_S)
        next(stream)
        stream.cancel()
        silence.end()
        assert ask(server, service, ServerReflectionRequest(list_services=""))
    assert not caplog.records


class _Silence:
    """Requests that are followed by nothing: the stream stays open until it is cancelled, or this is told to end."""

    def __init__(self, *requests: ServerReflectionRequest) -> None:
        self._requests = iter(requests)
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[ServerReflectionRequest]:
        return self

    def __next__(self) -> ServerReflectionRequest:
        for request in self._requests:
            return request
        self._ended.wait()
        raise StopIteration

    def end(self) -> None:
        self._ended.set()
