"""Decodes the inputs of a request to tensors: raw contents, typed contents, shared memory. Checks no shapes."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.requests.lazy_strings import LANE_STRING_BYTES, LANE_STRINGS, LazyStrings, LazyStringSlice
from sardonyx_server.engine.requests.parameters import read_region_ref
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import WireError, decode_bytes_elements, decode_raw, decode_typed, decode_utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.requests.parameters import RegionRef
    from sardonyx_server.engine.requests.plan import Plan, Tensor
    from sardonyx_server.engine.shared_memory.region import FindRegion
    from sardonyx_wire.messages import InferTensorContents
    from sardonyx_wire.request_reader import Header, TensorHeader

__all__ = ["deferred_refs", "read_region_refs", "read_tensors", "tensor_bytes"]

# The length prefix of each BYTES element.
_LENGTH_BYTES: Final = 4


def tensor_bytes(tensor: TensorHeader) -> int:
    """Size of a tensor in bytes; 0 for BYTES."""
    return math.prod(tensor.shape) * DATATYPES[tensor.datatype].itemsize


def read_region_refs(inputs: Sequence[TensorHeader], model_name: str) -> tuple[RegionRef | None, ...]:
    """Read where each input lies in shared memory: None for one that is sent; () if all are sent.

    Raises:
        InvalidRequest: A parameter has a wrong type or value or belongs to outputs, or an input has data twice.
    """
    region_refs: list[RegionRef | None] = []
    for index, tensor in enumerate(inputs):
        what, field = f"input '{tensor.name}' of model '{model_name}'", f"inputs[{index}].parameters"
        if "classification" in tensor.parameters:
            raise InvalidRequest(
                f"parameter 'classification' of {what}: only outputs can be classified",
                field=f"{field}[classification]",
            )
        ref = read_region_ref(tensor.parameters, what=what, field=field)
        if ref is not None and tensor.contents is not None:
            raise InvalidRequest(
                f"{what} is in shared memory and has typed contents too: send one of them",
                field=f"inputs[{index}].contents",
            )
        region_refs.append(ref)
    return tuple(region_refs) if any(region_refs) else ()


def deferred_refs(
    inputs: Sequence[TensorHeader], region_refs: Sequence[RegionRef | None], order: Sequence[int]
) -> tuple[RegionRef, ...]:
    """Return the references in the given order, if all inputs can be deferred reads without further checks; else ().

    It is computed once for each header. :func:`read_tensors` checks each tensor of each request again, which takes
    three times as long (2026-11-26).
    """
    found = [
        ref
        for tensor, ref in zip(inputs, region_refs or (None,) * len(inputs), strict=True)
        if ref is not None and tensor.datatype not in ("BYTES", "BOOL") and ref.byte_size == tensor_bytes(tensor)
    ]
    return tuple(found[index] for index in order) if len(found) == len(inputs) else ()


def read_tensors(header: Header, payloads: list[memoryview], plan: Plan, find_region: FindRegion) -> list[Tensor]:
    """Decode the inputs of a request other than plain raw numbers of the right size.

    Args:
        header: A validated header.
        payloads: Raw contents, in the order of the inputs that have no typed contents and are not in shared memory.
        plan: The plan of this header.
        find_region: Finds shared memory regions.

    Returns:
        Tensors in the order of the plan's feeds.

    Raises:
        InvalidRequest: The data do not match the header.
        Forbidden: Shared memory is off.
        NotFound: No such region.
    """
    model_name = plan.signature.model_name
    region_refs = plan.region_refs or (None,) * len(header.inputs)
    remaining = iter(payloads)
    tensors: list[Tensor] = []
    for index, (tensor, ref) in enumerate(zip(header.inputs, region_refs, strict=True)):
        if ref is not None:
            tensors.append(_read_region(tensor, ref, find_region, index, model_name))
        elif tensor.contents is None:
            payload = next(remaining, None)
            if payload is None:
                raise InvalidRequest(
                    f"input '{tensor.name}' of model '{model_name}' has no data: send an entry in "
                    "raw_input_contents or typed contents",
                    field=f"inputs[{index}].contents",
                )
            tensors.append(_read_raw(tensor, payload, f"raw_input_contents[{index}]", model_name))
        else:
            tensors.append(_read_typed(tensor, index, model_name, has_raw=bool(payloads)))
    extra = sum(1 for _ in remaining)
    if extra:
        without = "typed contents or a place in shared memory" if plan.region_refs else "typed contents"
        raise InvalidRequest(
            f"raw_input_contents of the request to model '{model_name}': expected {len(payloads) - extra} entries, "
            f"one for each input without {without}, got {len(payloads)}",
            field="raw_input_contents",
            expected=f"{len(payloads) - extra} entries",
            got=f"{len(payloads)} entries",
        )
    return [tensors[i] for i in plan.order]


def _read_region(tensor: TensorHeader, ref: RegionRef, find_region: FindRegion, index: int, model_name: str) -> Tensor:
    """Read an input in shared memory: numbers as a deferred read; BYTES and BOOL, which need checks, at once."""
    field = f"inputs[{index}].parameters"
    region = find_region(ref.region)
    itemsize = DATATYPES[tensor.datatype].itemsize
    if itemsize and ref.byte_size != tensor_bytes(tensor):
        # Checked before reading: the size comes from the caller and may be gigabytes.
        raise _bad_data(
            tensor,
            f"expected 'shared_memory_byte_size' {tensor_bytes(tensor)} for {tensor.datatype} "
            f"[{','.join(map(str, tensor.shape))}], got {ref.byte_size}",
            f"{field}[shared_memory_byte_size]",
            model_name,
            (tensor_bytes(tensor), ref.byte_size),
        )
    if itemsize and tensor.datatype != "BOOL":
        return region.part(ref.offset, ref.byte_size)
    return _read_raw(tensor, region.read(ref.offset, ref.byte_size), field, model_name)


def _read_raw(tensor: TensorHeader, payload: memoryview, field: str, model_name: str) -> Tensor:
    if tensor.datatype == "BYTES":
        return _read_strings(tensor, payload, field, model_name)
    try:
        array = decode_raw(DATATYPES[tensor.datatype], tensor.shape, payload)
    except WireError as error:
        wanted = tensor_bytes(tensor)
        sizes = (wanted, len(payload)) if wanted != len(payload) else None
        raise _bad_data(tensor, str(error), field, model_name, sizes) from error
    # BOOL values other than 0 and 1 have been normalised; all other data are the received bytes.
    return array.tobytes() if tensor.datatype == "BOOL" else payload


def _read_strings(tensor: TensorHeader, payload: memoryview, field: str, model_name: str) -> Tensor:
    """Decode few strings now, and many when the model runs, because all other callers wait for this thread."""
    count = math.prod(tensor.shape)
    many = count > LANE_STRINGS or len(payload) > LANE_STRING_BYTES
    # A payload too short for the length prefixes of all elements fails to decode at once. This also bounds the number
    # of strings, and so the memory allocated for them, by the size of the message.
    if not many or len(payload) < _LENGTH_BYTES * count:
        return _decode_strings(payload, tensor, field, model_name)
    return LazyStringSlice(LazyStrings(partial(_decode_strings, payload, tensor, field, model_name), payload), 0, count)


def _decode_strings(payload: memoryview, tensor: TensorHeader, field: str, model_name: str) -> list[str]:
    """Raises InvalidRequest."""
    try:
        return decode_utf8(decode_bytes_elements(payload, math.prod(tensor.shape)))
    except WireError as error:
        raise _bad_data(tensor, str(error), field, model_name) from error


def _read_typed(tensor: TensorHeader, index: int, model_name: str, *, has_raw: bool) -> Tensor:
    field = f"inputs[{index}].contents"
    if has_raw:
        problem = "typed contents and raw_input_contents cannot be mixed in one request"
        raise _bad_data(tensor, problem, field, model_name)
    if TYPE_CHECKING:
        assert tensor.contents is not None
    if tensor.datatype == "BYTES":
        decode = partial(_decode_typed_strings, tensor, tensor.contents, field, model_name)
        strings = tensor.contents.bytes_contents
        # If the number of strings does not match the shape, decode at once to report the error.
        many = len(strings) == math.prod(tensor.shape) and _are_many(strings)
        return LazyStringSlice(LazyStrings(decode), 0, len(strings)) if many else decode()
    try:
        return decode_typed(DATATYPES[tensor.datatype], tensor.shape, tensor.contents).tobytes()
    except WireError as error:
        raise _bad_data(tensor, str(error), field, model_name) from error


def _are_many(strings: Sequence[bytes]) -> bool:
    """Whether decoding is deferred. Accessing an element copies it, so this looks at no more of them than necessary."""
    if len(strings) > LANE_STRINGS:
        return True
    size = 0
    for one in strings:
        size += len(one)
        if size > LANE_STRING_BYTES:
            return True
    return False


def _decode_typed_strings(
    tensor: TensorHeader, contents: InferTensorContents, field: str, model_name: str
) -> list[str]:
    """Raises InvalidRequest."""
    try:
        return decode_utf8(decode_typed(DATATYPES["BYTES"], tensor.shape, contents).ravel().tolist())
    except WireError as error:
        raise _bad_data(tensor, str(error), field, model_name) from error


def _bad_data(
    tensor: TensorHeader, problem: str, field: str, model_name: str, sizes: tuple[int, int] | None = None
) -> InvalidRequest:
    """``sizes``: expected and received bytes, if that is the mismatch."""
    return InvalidRequest(
        f"data of input '{tensor.name}' of model '{model_name}': {problem}",
        field=field,
        expected=f"{sizes[0]} bytes" if sizes else "",
        got=f"{sizes[1]} bytes" if sizes else "",
    )
