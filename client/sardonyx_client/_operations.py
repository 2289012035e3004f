"""Every unary RPC but inference: its request message, and how to decode its response. No I/O.

Both clients send an :class:`Operation` and return its decoded value, and know nothing of its meaning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from google.protobuf.message import DecodeError

from sardonyx_client._errors import BadResponse, InvalidArgument
from sardonyx_client._values import (
    Duration,
    IndexEntry,
    ModelInfo,
    ModelStatistics,
    ServerInfo,
    SharedMemoryRegion,
)
from sardonyx_wire.messages import (
    METHODS,
    ModelConfigRequest,
    ModelConfigResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ModelStatisticsRequest,
    ModelStatisticsResponse,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
    SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterRequest,
)
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from sardonyx_client._timeout import Timeout
    from sardonyx_wire.messages import ModelConfig, StatisticDuration

    class _Message(Protocol):
        @classmethod
        def FromString(cls, s: bytes) -> Self: ...  # noqa: N802 -- protobuf's name

    _M = TypeVar("_M", bound=_Message)

    class Run(Protocol):
        """Sends an operation and waits for its value. ``connect``: wait for a connection instead of failing without."""

        def __call__(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> T: ...

    class AsyncRun(Protocol):
        """Likewise, without blocking."""

        def __call__(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> Awaitable[T]: ...


__all__ = [
    "PATHS",
    "Operation",
    "config",
    "index",
    "live",
    "load",
    "model_metadata",
    "model_ready",
    "register_shared_memory",
    "server_metadata",
    "server_ready",
    "shared_memory_status",
    "statistics",
    "unload",
    "unregister_shared_memory",
]

PATHS: Mapping[str, str] = MappingProxyType({name: method.path for name, method in METHODS.items()})
"""Name of an RPC -> its path on the wire."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One unary call.

    Attributes:
        rpc: Name of the RPC.
        message: The serialised request.
        decode: Response message -> value; raises BadResponse.
    """

    rpc: str
    message: bytes
    decode: Callable[[bytes], T]


def live() -> Operation[bool]:
    """Whether the server responds at all."""
    return Operation("ServerLive", b"", lambda answer: _parse(ServerLiveResponse, answer).live)


def server_ready() -> Operation[bool]:
    """Whether the server takes requests."""
    return Operation("ServerReady", b"", lambda answer: _parse(ServerReadyResponse, answer).ready)


def model_ready(model: str, version: str) -> Operation[bool]:
    """Whether a model takes requests."""
    message = ModelReadyRequest(name=model, version=version).SerializeToString()
    return Operation("ModelReady", message, lambda answer: _parse(ModelReadyResponse, answer).ready)


def server_metadata() -> Operation[ServerInfo]:
    """Name, version and extensions of the server."""

    def decode(answer: bytes) -> ServerInfo:
        found = _parse(ServerMetadataResponse, answer)
        return ServerInfo(name=found.name, version=found.version, extensions=tuple(found.extensions))

    return Operation("ServerMetadata", b"", decode)


def model_metadata(model: str, version: str) -> Operation[ModelInfo]:
    """Signature of a model."""

    def decode(answer: bytes) -> ModelInfo:
        found = _parse(ModelMetadataResponse, answer)
        return ModelInfo(
            name=found.name,
            versions=tuple(found.versions),
            platform=found.platform,
            inputs=_specs(found.inputs),
            outputs=_specs(found.outputs),
        )

    message = ModelMetadataRequest(name=model, version=version).SerializeToString()
    return Operation("ModelMetadata", message, decode)


def config(model: str, version: str) -> Operation[ModelConfig]:
    """Configuration in force of a model."""
    message = ModelConfigRequest(name=model, version=version).SerializeToString()
    return Operation("ModelConfig", message, lambda answer: _parse(ModelConfigResponse, answer).config)


def statistics(model: str, version: str) -> Operation[tuple[ModelStatistics, ...]]:
    """Statistics of a model, or of all models."""

    def decode(answer: bytes) -> tuple[ModelStatistics, ...]:
        return tuple(
            ModelStatistics(
                name=each.name,
                version=each.version,
                last_inference_s=each.last_inference / 1000,
                inference_count=each.inference_count,
                execution_count=each.execution_count,
                success=_duration(each.inference_stats.success),
                fail=_duration(each.inference_stats.fail),
                queue=_duration(each.inference_stats.queue),
                compute_input=_duration(each.inference_stats.compute_input),
                compute_infer=_duration(each.inference_stats.compute_infer),
                compute_output=_duration(each.inference_stats.compute_output),
                cache_hit=_duration(each.inference_stats.cache_hit),
                cache_miss=_duration(each.inference_stats.cache_miss),
                batches=MappingProxyType({batch.batch_size: batch.compute_infer.count for batch in each.batch_stats}),
            )
            for each in _parse(ModelStatisticsResponse, answer).model_stats
        )

    message = ModelStatisticsRequest(name=model, version=version).SerializeToString()
    return Operation("ModelStatistics", message, decode)


def index(*, ready: bool) -> Operation[tuple[IndexEntry, ...]]:
    """The repository index."""

    def decode(answer: bytes) -> tuple[IndexEntry, ...]:
        return tuple(
            IndexEntry(name=each.name, version=each.version, state=each.state, reason=each.reason)
            for each in _parse(RepositoryIndexResponse, answer).models
        )

    return Operation("RepositoryIndex", RepositoryIndexRequest(ready=ready).SerializeToString(), decode)


def load(model: str, model_config: Mapping[str, Any] | str | None, files: Mapping[str, bytes]) -> Operation[None]:
    """Load a model, or load it again.

    Raises:
        InvalidArgument: Files without a config, which servers refuse.
    """
    request = RepositoryModelLoadRequest(model_name=model)
    if files and model_config is None:
        raise InvalidArgument(f"load of model {model!r}: files need a config beside them; give at least {{}}")
    if model_config is not None:
        text = model_config if isinstance(model_config, str) else json.dumps(model_config)
        request.parameters["config"].string_param = text
    for path, content in files.items():
        request.parameters[f"file:{path}"].bytes_param = content
    return Operation("RepositoryModelLoad", request.SerializeToString(), _nothing)


def unload(model: str, *, unload_dependents: bool) -> Operation[None]:
    """Unload a model."""
    request = RepositoryModelUnloadRequest(model_name=model)
    if unload_dependents:
        request.parameters["unload_dependents"].bool_param = True
    return Operation("RepositoryModelUnload", request.SerializeToString(), _nothing)


def register_shared_memory(name: str, key: str, *, size_bytes: int, offset_bytes: int) -> Operation[None]:
    """Register a region."""
    request = SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset_bytes, byte_size=size_bytes)
    return Operation("SystemSharedMemoryRegister", request.SerializeToString(), _nothing)


def unregister_shared_memory(name: str) -> Operation[None]:
    """Unregister a region; "" = all."""
    request = SystemSharedMemoryUnregisterRequest(name=name)
    return Operation("SystemSharedMemoryUnregister", request.SerializeToString(), _nothing)


def shared_memory_status(name: str) -> Operation[tuple[SharedMemoryRegion, ...]]:
    """Registered regions."""

    def decode(answer: bytes) -> tuple[SharedMemoryRegion, ...]:
        return tuple(
            SharedMemoryRegion(name=each.name, key=each.key, offset_bytes=each.offset, size_bytes=each.byte_size)
            for each in _parse(SystemSharedMemoryStatusResponse, answer).regions.values()
        )

    message = SystemSharedMemoryStatusRequest(name=name).SerializeToString()
    return Operation("SystemSharedMemoryStatus", message, decode)


def _nothing(_answer: bytes) -> None:
    """The response is empty."""


def _duration(found: StatisticDuration) -> Duration:
    return Duration(count=found.count, total_s=found.ns / 1e9)


def _specs(tensors: Iterable[ModelMetadataResponse.TensorMetadata]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=t.name, datatype=t.datatype, shape=tuple(t.shape)) for t in tensors)


def _parse(kind: type[_M], message: bytes) -> _M:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise BadResponse(f"the answer is no inference.{kind.__name__}") from error
