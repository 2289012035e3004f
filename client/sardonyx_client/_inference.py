"""Encodes inference requests and decodes their responses. No I/O; both clients use it.

What repeats from call to call (names, datatypes, shapes) is encoded and checked once and cached; only the data remains
for each call. _response_plan.py turns the data of a response into arrays.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import EncodeError

from sardonyx_client._errors import BadResponse, InvalidArgument
from sardonyx_client._response_plan import ResponsePlan
from sardonyx_client._values import Result
from sardonyx_wire.datatypes import DATATYPES, for_dtype
from sardonyx_wire.messages import InferParameter, ModelInferRequest
from sardonyx_wire.protobuf_fields import decode_id
from sardonyx_wire.request_reader import MalformedMessage
from sardonyx_wire.request_template import RequestTemplate
from sardonyx_wire.response_reader import ResponseReader
from sardonyx_wire.tensors import WireError, encode_raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from sardonyx_client._request import Request
    from sardonyx_client._shm_pool.call_regions import CallRegions
    from sardonyx_client._values import ParameterValue, Timings

__all__ = ["InferenceCodec", "to_array"]

# (name, datatype, shape, place in shared memory: (region, bytes, offset) or None)
_InputKey = tuple[str, str, tuple[int, ...], tuple[str, int, int] | None]

# Ranges of integer parameters: int64 first, uint64 above it.
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**64)
# A program calls a few models with a few shapes. Bounds the memory if shapes never repeat.
_MAX_TEMPLATES: Final = 512

_datatype_of = lru_cache(maxsize=256)(for_dtype)


def to_array(name: str, value: object) -> NDArray[Any]:
    """Convert an argument to an array.

    Anything with a dtype of its own (numpy arrays and scalars, and what numpy can view as one) keeps it. Python
    numbers, and lists and tuples of them, become FP32, INT64 or BOOL: nearly every model takes FP32, few take FP64.

    Raises:
        InvalidArgument: numpy cannot convert it.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"input {name!r}: numpy cannot make an array of it: {error}") from error
    if array.dtype == np.float64 and isinstance(value, list | tuple | float) and not isinstance(value, np.generic):
        array = array.astype(np.float32)
    return array


class InferenceCodec:
    """Encodes requests and decodes responses. Thread-safe."""

    __slots__ = ("_reader", "_templates")

    def __init__(self) -> None:
        self._reader = ResponseReader()
        self._templates: dict[tuple[object, ...], RequestTemplate] = {}

    def encode(self, request: Request, call_regions: CallRegions | None = None) -> bytes:
        """Request -> message, with raw tensor data.

        Args:
            request: The request.
            call_regions: Shared memory for large inputs; None = all inputs go in the message.

        Raises:
            InvalidArgument: A value cannot be encoded.
        """
        model, inputs, version, outputs, request_id, parameters = request
        input_keys: list[_InputKey] = []
        data: list[bytes | memoryview] = []
        for name, value in inputs.items():
            array = value if type(value) is np.ndarray else to_array(name, value)
            datatype = _datatype_of(array.dtype)
            if datatype is None:
                known = ", ".join(DATATYPES)
                raise InvalidArgument(
                    f"input {name!r}: no datatype carries {array.dtype.name}: convert it to one of {known}"
                )
            try:
                raw = encode_raw(datatype, array)
            except WireError as error:
                raise InvalidArgument(f"input {name!r}: {error}") from error
            place = None if call_regions is None else call_regions.write_input(raw)
            if place is None:
                data.append(raw)
            input_keys.append((name, datatype.name, array.shape, place))
        # True, 1 and 1.0 are equal as dict keys, but differ on the wire.
        parameter_key = (
            tuple((name, type(value), str(value)) for name, value in parameters.items()) if parameters else ()
        )
        key = (model, version, outputs, parameter_key, tuple(input_keys))
        template = self._templates.get(key)
        try:
            if template is None:
                template = RequestTemplate(_header(model, version, input_keys, outputs, parameters))
                if len(self._templates) >= _MAX_TEMPLATES:
                    self._templates.clear()
                self._templates[key] = template
            return template.fill(request_id, data)
        except (EncodeError, MemoryError, OverflowError) as error:
            raise InvalidArgument(
                f"the request to model {model!r} is larger than 2 GiB: send fewer rows at once"
            ) from error

    def decode(self, message: bytes | memoryview, timings: Timings, call_regions: CallRegions | None = None) -> Result:
        """Message of a response -> result. Numbers are views of the message, or of shared memory in ``call_regions``.

        Raises:
            BadResponse: The response violates the protocol.
        """
        try:
            header, id_field, payloads = self._reader.decode(message)
        except MalformedMessage as error:
            raise BadResponse("the answer is no inference.ModelInferResponse") from error
        plan = header.plan
        if not isinstance(plan, ResponsePlan):
            plan = header.plan = ResponsePlan(header)
        return Result(
            model_name=header.model_name,
            model_version=header.model_version,
            request_id=decode_id(id_field),
            outputs=MappingProxyType(
                plan.arrays(header, plan.with_shared_memory(payloads, call_regions) if plan.places else payloads)
            ),
            parameters=plan.parameters,
            timings=timings,
        )


def _set_parameter(target: InferParameter, name: str, value: object) -> None:
    """Set one parameter.

    Raises:
        InvalidArgument: The protocol does not support the value.
    """
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


def _header(
    model: str,
    version: str,
    input_keys: Iterable[_InputKey],
    outputs: Iterable[str],
    parameters: Mapping[str, ParameterValue],
) -> ModelInferRequest:
    header = ModelInferRequest(model_name=model, model_version=version)
    for name, parameter in parameters.items():
        _set_parameter(header.parameters[name], name, parameter)
    for name, datatype, shape, place in input_keys:
        tensor = header.inputs.add(name=name, datatype=datatype, shape=shape)
        if place is not None:
            region, size_bytes, offset = place
            tensor.parameters["shared_memory_region"].string_param = region
            tensor.parameters["shared_memory_byte_size"].int64_param = size_bytes
            tensor.parameters["shared_memory_offset"].int64_param = offset
    for name in outputs:
        header.outputs.add(name=name)
    return header
