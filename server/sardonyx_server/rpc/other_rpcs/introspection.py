"""RPCs about the server and its models: readiness, metadata, configuration. Runs no model; knows no gRPC.

Each method takes a request message and returns the response message, or raises an error of sardonyx_server.errors.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.messages import (
    ModelConfigResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.running.model import Model
    from sardonyx_wire.messages import (
        ModelConfigRequest,
        ModelMetadataRequest,
        ModelReadyRequest,
        ServerLiveRequest,
        ServerMetadataRequest,
        ServerReadyRequest,
    )
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["EXTENSIONS", "PLATFORM", "Introspection", "ServerInfo", "extensions", "version_field"]

EXTENSIONS: Final = (
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
    "trace",
)
"""Triton's names of the protocol's extensions that work on every server."""

_SYSTEM_MEMORY: Final = ("system_shared_memory", "system_shared_memory(output_region)")
_CUDA_MEMORY: Final = ("cuda_shared_memory",)

PLATFORM: Final = "onnxruntime_onnx"
"""Triton's name for a model in ONNX format that onnxruntime runs."""


def extensions(*, system_memory: bool, cuda_memory: bool) -> tuple[str, ...]:
    """The sorted names of the protocol's extensions that work with such a configuration of shared memory."""
    return tuple(
        sorted((*EXTENSIONS, *(_SYSTEM_MEMORY if system_memory else ()), *(_CUDA_MEMORY if cuda_memory else ())))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """The content of the answer to ServerMetadata.

    Attributes:
        name: Name of the server. The operator may set it, since some clients check it.
        version: Version of this server.
        extensions: The protocol's extensions that work.
    """

    name: str = "sardonyx"
    version: str
    extensions: tuple[str, ...] = EXTENSIONS


class Introspection:
    """Answers the RPCs about the server and its models. Any thread; none of them blocks.

    Args:
        registry: The registry of models.
        info: The content of the answer to ServerMetadata.
        is_ready: Whether the server accepts requests, by the operator's choice of strict readiness or not.
    """

    __slots__ = ("_info", "_is_ready", "_registry")

    def __init__(self, registry: Registry, info: ServerInfo, is_ready: Callable[[], bool]) -> None:
        self._registry = registry
        self._info = info
        self._is_ready = is_ready

    def server_live(self, _request: ServerLiveRequest) -> ServerLiveResponse:
        """Always live: the answer itself proves it."""
        return ServerLiveResponse(live=True)

    def server_ready(self, _request: ServerReadyRequest) -> ServerReadyResponse:
        """Whether the server accepts requests."""
        return ServerReadyResponse(ready=self._is_ready())

    def server_metadata(self, _request: ServerMetadataRequest) -> ServerMetadataResponse:
        """Name, version and working extensions of the server."""
        info = self._info
        return ServerMetadataResponse(name=info.name, version=info.version, extensions=info.extensions)

    def model_ready(self, request: ModelReadyRequest) -> ModelReadyResponse:
        """Whether a model or one version of it accepts requests. A model that is loading or has failed is not ready.

        Raises:
            InvalidRequest: The version is not a positive integer.
            NotFound: The model or version does not exist.
        """
        with version_field():
            return ModelReadyResponse(ready=self._registry.is_ready(request.name, request.version))

    def model_metadata(self, request: ModelMetadataRequest) -> ModelMetadataResponse:
        """The inputs and outputs of a model. Shapes include the batch axis, as -1.

        Raises:
            InvalidRequest: The version is not a positive integer.
            NotFound: The model or version does not exist.
            ModelUnavailable: The model is loading, is draining or has failed.
        """
        model = self._model(request.name, request.version)
        return ModelMetadataResponse(
            name=model.name,
            versions=self._ready_versions(model),
            platform=PLATFORM,
            inputs=_tensors(model.inputs, model),
            outputs=_tensors(model.outputs, model),
        )

    def model_config(self, request: ModelConfigRequest) -> ModelConfigResponse:
        """The configuration in force: the operator's, completed with inferred values.

        Raises:
            InvalidRequest: The version is not a positive integer.
            NotFound: The model or version does not exist.
            ModelUnavailable: The model is loading, is draining or has failed.
        """
        return ModelConfigResponse(config=self._model(request.name, request.version).config)

    def _model(self, name: str, version: str) -> Model:
        with version_field():
            return self._registry.get(name, version)

    def _ready_versions(self, model: Model) -> list[str]:
        entry = self._registry.entries().get(model.name)
        ready = set() if entry is None else {n for n, status in entry.versions.items() if status.model is not None}
        # This model was ready a moment ago; the snapshot may be newer.
        return [str(number) for number in sorted(ready | {model.version})]


@contextmanager
def version_field() -> Iterator[None]:
    """Rename the field of an error: the registry uses its name in ModelInfer, but here the field is ``version``."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(error.message, field="version", reason=error.reason) from error


def _tensors(specs: Iterable[TensorSpec], model: Model) -> list[ModelMetadataResponse.TensorMetadata]:
    # The protocol cannot express "no shape declared": we send an empty shape, with the batch axis if there is one.
    undeclared = (-1,) if model.config.max_batch_size > 0 else ()
    return [
        ModelMetadataResponse.TensorMetadata(
            name=spec.name, datatype=spec.datatype, shape=undeclared if spec.shape is None else spec.shape
        )
        for spec in specs
    ]
