"""Inference requests to bytes, and answers to results. No I/O: every front of the client stands on this.

What repeats from call to call (names, datatypes, shapes) is encoded and checked once and remembered; what remains for
each call is the data. How an answer's data become arrays says _answer_plan.py.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import EncodeError

from sardonyx_client._answer_plan import AnswerPlan
from sardonyx_client._errors import BadResponse, InvalidArgument
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

    from sardonyx_client._regions.room import Room
    from sardonyx_client._request import Request
    from sardonyx_client._values import ParameterValue, Timings

__all__ = ["InferenceCodec", "to_array"]

# (name, datatype, shape, where in shared memory: region, bytes, offset)
_Form = tuple[str, str, tuple[int, ...], tuple[str, int, int] | None]

# Bounds of the integers that a parameter can carry: int64 first, uint64 above it.
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**64)
# A program calls a few models with a few shapes. One whose shapes never repeat must not fill its memory.
_TEMPLATES: Final = 512

_datatype_of = lru_cache(maxsize=256)(for_dtype)


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


class InferenceCodec:
    """Encodes requests and decodes answers. Threads may share one."""

    __slots__ = ("_reader", "_templates")

    def __init__(self) -> None:
        self._reader = ResponseReader()
        self._templates: dict[tuple[object, ...], RequestTemplate] = {}

    def encode(self, request: Request, room: Room | None = None) -> bytes:
        """A request -> its message, data raw.

        Args:
            request: What is asked.
            room: Shared memory for large inputs; None sends all.

        Raises:
            InvalidArgument: A value cannot be sent.
        """
        model, inputs, version, outputs, request_id, parameters = request
        forms: list[_Form] = []
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
            place = None if room is None else room.put(raw)
            if place is None:
                data.append(raw)
            forms.append((name, datatype.name, array.shape, place))
        # True, 1 and 1.0 are equal as keys, and differ on the wire.
        said = tuple((name, type(value), str(value)) for name, value in parameters.items()) if parameters else ()
        key = (model, version, outputs, said, tuple(forms))
        template = self._templates.get(key)
        try:
            if template is None:
                template = RequestTemplate(_header(model, version, forms, outputs, parameters))
                if len(self._templates) >= _TEMPLATES:
                    self._templates.clear()
                self._templates[key] = template
            return template.fill(request_id, data)
        except (EncodeError, MemoryError, OverflowError) as error:
            raise InvalidArgument(
                f"the request to model {model!r} is larger than 2 GiB: send fewer rows at once"
            ) from error

    def decode(self, message: bytes | memoryview, timings: Timings, room: Room | None = None) -> Result:
        """Message of an inference answer -> result. Numbers are views of the message, or of the shared memory ``room``.

        Raises:
            BadResponse: The answer breaks the protocol.
        """
        try:
            header, id_field, payloads = self._reader.decode(message)
        except MalformedMessage as error:
            raise BadResponse("the answer is no inference.ModelInferResponse") from error
        plan = header.plan
        if not isinstance(plan, AnswerPlan):
            plan = header.plan = AnswerPlan(header)
        return Result(
            model_name=header.model_name,
            model_version=header.model_version,
            request_id=decode_id(id_field),
            outputs=MappingProxyType(plan.arrays(header, plan.placed(payloads, room) if plan.places else payloads)),
            parameters=plan.parameters,
            timings=timings,
        )


def _set_parameter(target: InferParameter, name: str, value: object) -> None:
    """Write one parameter.

    Raises:
        InvalidArgument: The protocol cannot carry the value.
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
    forms: Iterable[_Form],
    outputs: Iterable[str],
    parameters: Mapping[str, ParameterValue],
) -> ModelInferRequest:
    header = ModelInferRequest(model_name=model, model_version=version)
    for name, parameter in parameters.items():
        _set_parameter(header.parameters[name], name, parameter)
    for name, datatype, shape, place in forms:
        tensor = header.inputs.add(name=name, datatype=datatype, shape=shape)
        if place is not None:
            region, size_bytes, offset = place
            tensor.parameters["shared_memory_region"].string_param = region
            tensor.parameters["shared_memory_byte_size"].int64_param = size_bytes
            tensor.parameters["shared_memory_offset"].int64_param = offset
    for name in outputs:
        header.outputs.add(name=name)
    return header
