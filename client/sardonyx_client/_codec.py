"""Requests to bytes and bytes to results. No I/O: every front of the client stands on this one core.

A model's answers are checked here as strictly as a server checks requests, for the server may not be ours.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, EncodeError

from sardonyx_client._errors import BadResponse, InvalidArgument
from sardonyx_client._values import ModelInfo, Result, ServerInfo
from sardonyx_wire.datatypes import DATATYPES, for_dtype
from sardonyx_wire.messages import (
    METHODS,
    InferParameter,
    ModelConfigRequest,
    ModelConfigResponse,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from sardonyx_wire.tensors import TensorSpec, WireError, decode_raw, decode_typed, encode_raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_client._values import ParameterValue
    from sardonyx_wire.messages import ModelConfig

    class _Message(Protocol):
        @classmethod
        def FromString(cls, s: bytes) -> Self: ...  # noqa: N802 -- protobuf's name

    _M = TypeVar("_M", bound=_Message)

__all__ = [
    "PATHS",
    "decode_config",
    "decode_infer",
    "decode_live",
    "decode_model_metadata",
    "decode_model_ready",
    "decode_server_metadata",
    "decode_server_ready",
    "encode_config",
    "encode_infer",
    "encode_model_metadata",
    "encode_model_ready",
    "to_array",
]

PATHS: Mapping[str, str] = MappingProxyType({name: method.path for name, method in METHODS.items()})
"""Name of an RPC -> its path on the wire."""

# Bounds of the integers that a parameter can carry: int64 first, uint64 above it.
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)


def to_array(name: str, value: object) -> NDArray[Any]:
    """A caller's value -> array.

    Whatever has a dtype of its own (numpy arrays and scalars, and all that numpy can view as one) keeps it. Python
    numbers, and lists and tuples of them, become FP32, INT64 or BOOL: nearly every model takes FP32, few take FP64.

    Raises:
        InvalidArgument: numpy cannot make an array of it.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"input {name!r}: numpy cannot make an array of it: {error}") from error
    if array.dtype == np.float64 and isinstance(value, list | tuple | float) and not isinstance(value, np.generic):
        array = array.astype(np.float32)
    return array


def encode_infer(
    model: str,
    inputs: Iterable[tuple[str, object]],
    *,
    version: str = "",
    outputs: Sequence[str] = (),
    request_id: str = "",
    parameters: Mapping[str, ParameterValue] = MappingProxyType({}),
) -> bytes:
    """One inference request -> its message, data raw.

    Args:
        model: Name of the model.
        inputs: (name, value) in the order to send.
        version: "" leaves the choice to the server.
        outputs: Names wanted, in the order of the answer; none means all.
        request_id: Sent back in the answer.
        parameters: Of the request.

    Raises:
        InvalidArgument: A value cannot be sent.
    """
    request = ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, parameter in parameters.items():
        _set_parameter(request.parameters[name], name, parameter)
    for name, value in inputs:
        array = to_array(name, value)
        datatype = for_dtype(array.dtype)
        if datatype is None:
            known = ", ".join(DATATYPES)
            raise InvalidArgument(
                f"input {name!r}: no datatype carries {array.dtype.name}: convert it to one of {known}"
            )
        try:
            data = encode_raw(datatype, array)
        except WireError as error:
            raise InvalidArgument(f"input {name!r}: {error}") from error
        request.inputs.add(name=name, datatype=datatype.name, shape=array.shape)
        request.raw_input_contents.append(data)
    for name in outputs:
        request.outputs.add(name=name)
    try:
        return request.SerializeToString()
    except EncodeError as error:
        raise InvalidArgument(
            f"the request to model {model!r} is larger than 2 GiB: send fewer rows at once"
        ) from error


def decode_infer(message: bytes) -> Result:
    """Message of an inference answer -> result.

    Raises:
        BadResponse: The answer breaks the protocol.
    """
    response = _parse(ModelInferResponse, message)
    data = response.raw_output_contents
    if data and len(data) != len(response.outputs):
        raise BadResponse(f"expected {len(response.outputs)} raw outputs in the answer, got {len(data)}")
    arrays: dict[str, NDArray[Any]] = {}
    for index, output in enumerate(response.outputs):
        datatype = DATATYPES.get(output.datatype)
        if datatype is None:
            raise BadResponse(f"output {output.name!r}: unknown datatype {output.datatype!r} in the answer")
        if output.name in arrays:
            raise BadResponse(f"output {output.name!r} is in the answer twice")
        shape = tuple(output.shape)
        try:
            if data and not output.HasField("contents"):
                arrays[output.name] = decode_raw(datatype, shape, data[index])
            else:
                arrays[output.name] = decode_typed(datatype, shape, output.contents)
        except WireError as error:
            raise BadResponse(f"output {output.name!r}: {error}") from error
    return Result(
        model_name=response.model_name,
        model_version=response.model_version,
        request_id=response.id,
        outputs=MappingProxyType(arrays),
        parameters=MappingProxyType(_read_parameters(response.parameters)),
    )


def encode_model_ready(model: str, version: str) -> bytes:
    """Request of ModelReady."""
    return ModelReadyRequest(name=model, version=version).SerializeToString()


def encode_model_metadata(model: str, version: str) -> bytes:
    """Request of ModelMetadata."""
    return ModelMetadataRequest(name=model, version=version).SerializeToString()


def encode_config(model: str, version: str) -> bytes:
    """Request of ModelConfig."""
    return ModelConfigRequest(name=model, version=version).SerializeToString()


def decode_live(message: bytes) -> bool:
    """Answer of ServerLive."""
    return _parse(ServerLiveResponse, message).live


def decode_server_ready(message: bytes) -> bool:
    """Answer of ServerReady."""
    return _parse(ServerReadyResponse, message).ready


def decode_model_ready(message: bytes) -> bool:
    """Answer of ModelReady."""
    return _parse(ModelReadyResponse, message).ready


def decode_config(message: bytes) -> ModelConfig:
    """Answer of ModelConfig."""
    return _parse(ModelConfigResponse, message).config


def decode_server_metadata(message: bytes) -> ServerInfo:
    """Answer of ServerMetadata."""
    response = _parse(ServerMetadataResponse, message)
    return ServerInfo(name=response.name, version=response.version, extensions=tuple(response.extensions))


def decode_model_metadata(message: bytes) -> ModelInfo:
    """Answer of ModelMetadata."""
    response = _parse(ModelMetadataResponse, message)
    return ModelInfo(
        name=response.name,
        versions=tuple(response.versions),
        platform=response.platform,
        inputs=_specs(response.inputs),
        outputs=_specs(response.outputs),
    )


def _specs(tensors: Iterable[ModelMetadataResponse.TensorMetadata]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=t.name, datatype=t.datatype, shape=tuple(t.shape)) for t in tensors)


def _parse(kind: type[_M], message: bytes) -> _M:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise BadResponse(f"the answer is no inference.{kind.__name__}") from error


def _set_parameter(target: InferParameter, name: str, value: object) -> None:
    if isinstance(value, bool):
        target.bool_param = value
    elif isinstance(value, str):
        target.string_param = value
    elif isinstance(value, float):
        target.double_param = value
    elif isinstance(value, int) and value in _INT64:
        target.int64_param = value
    elif isinstance(value, int) and value in _UINT64:
        target.uint64_param = value
    else:
        raise InvalidArgument(f"parameter {name!r}: expected bool, int of 64 bits, float or str, got {value!r:.40}")


def _read_parameters(parameters: Mapping[str, InferParameter]) -> dict[str, ParameterValue]:
    values: dict[str, ParameterValue] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values
