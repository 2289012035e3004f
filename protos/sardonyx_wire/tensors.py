"""Converts tensors between the wire and numpy: raw contents, typed contents, shapes. Knows no models and no requests.

Errors are :class:`WireError` and describe the data alone. The calling code, which knows the name of the tensor, adds it
in front: ``input 'x': expected 16 bytes for FP32 [1,4], got 12``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_wire._elements import Buffer, WireError, decode_bytes_elements, decode_utf8, encode_bytes_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sardonyx_wire.datatypes import Datatype
    from sardonyx_wire.messages import InferTensorContents

__all__ = [
    "MAX_ELEMENTS",
    "MAX_RANK",
    "Buffer",
    "TensorSpec",
    "WireError",
    "bytes_of",
    "decode_bytes_elements",
    "decode_raw",
    "decode_typed",
    "decode_utf8",
    "describe_shape",
    "element_count",
    "encode_bytes_elements",
    "encode_raw",
    "object_array",
]

_COPIED_BYTES: Final = 64 * 1024
# A message has 2 GiB at most, so no tensor in one has more elements than this.
MAX_ELEMENTS: Final = 2**31 - 1
# numpy 1 allows 32 axes and numpy 2 allows 64. No model comes near.
MAX_RANK: Final = 32
# Integers of 8 and 16 bits are sent in 32-bit fields, whose range is larger than that of the datatype.
_TYPED_INTEGER_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: Name in the graph.
        datatype: Name in the protocol: a key of ``DATATYPES``.
        shape: -1 = any size; () = a scalar; None = the graph declares no shape at all.
        dim_names: Symbolic name of each axis or "", as long as ``shape``; () where the graph names none.
        optional: Whether clients may omit it.
        labels: Label of each class, for classification; () where there are none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] | None
    dim_names: tuple[str, ...] = ()
    optional: bool = False
    labels: tuple[str, ...] = ()

    def describe(self) -> str:
        """Such as ``FP32 [-1,4]``, or ``FP32 of any shape`` where the graph declares none."""
        return f"{self.datatype} {describe_shape(self.shape)}"


def describe_shape(shape: Sequence[int] | None) -> str:
    """Such as ``[-1,4]``. A shape with more than 32 axes is truncated: it came from a client and may be long."""
    if shape is None:
        return "of any shape"
    if len(shape) > MAX_RANK:
        return f"[{','.join(map(str, shape[:4]))},...]"
    return f"[{','.join(map(str, shape))}]"


def element_count(shape: Sequence[int], *, limit: int = MAX_ELEMENTS) -> int:
    """Number of elements, computed without overflow, before numpy sees the shape.

    Raises:
        WireError: More than 32 axes, a negative size, or more than ``limit`` elements. A size of 0 counts as 1 against
            the limit, since numpy refuses [0, 2**62] as well.
    """
    if len(shape) > MAX_RANK:
        raise WireError(f"shape {describe_shape(shape)} has {len(shape)} axes, more than {MAX_RANK}")
    count = 1
    empty = False
    for size in shape:
        if size > 0:
            count *= size
        elif size == 0:
            empty = True
        else:
            raise WireError(f"shape {describe_shape(shape)} has a negative size")
    if count > limit:
        raise WireError(f"shape {describe_shape(shape)} has more than {limit} elements")
    return 0 if empty else count


def decode_raw(datatype: Datatype, shape: Sequence[int], data: Buffer) -> NDArray[Any]:
    """Decode raw contents.

    Args:
        datatype: Datatype of the tensor.
        shape: Every size is 0 or more.
        data: One entry of ``raw_input_contents`` or ``raw_output_contents``; a memoryview must be one of single bytes.

    Returns:
        For numbers, a read-only view of ``data``, which it keeps alive (a copy where a BOOL is neither 0 nor 1: such a
        value counts as true). For BYTES, a new object array of ``bytes``.

    Raises:
        WireError: The shape is impossible, or the length of the data does not match shape and datatype.
    """
    count = element_count(shape)
    itemsize = datatype.itemsize
    if not itemsize:
        return object_array(decode_bytes_elements(data, count), shape)
    if len(data) != count * itemsize:
        raise WireError(
            f"expected {count * itemsize} bytes for {datatype.name} {describe_shape(shape)}, got {len(data)}"
        )
    array: NDArray[Any] = np.frombuffer(data, datatype.dtype).reshape(shape)
    # A bool that is neither 0 nor 1 is undefined in numpy: later sums and casts would be wrong.
    if datatype.name == "BOOL" and count and array.view(np.uint8).max() > 1:
        array = array.view(np.uint8) != 0
    array.flags.writeable = False
    return array


def encode_raw(datatype: Datatype, array: NDArray[Any]) -> bytes | memoryview:
    """Encode an array as raw contents: row-major, little-endian.

    A large array that is in this form already is not copied: use the returned view before the array changes.

    Args:
        datatype: Datatype to encode. The array must have its dtype, in either byte order. For BF16, ``bfloat16`` of
            ml_dtypes is accepted as well; for BYTES, any array of ``str`` or ``bytes``.
        array: An array of any shape and memory layout.

    Raises:
        WireError: The array is of another dtype, or a BYTES element is neither ``str`` nor ``bytes``.
    """
    if not datatype.itemsize:
        return encode_bytes_elements(array.ravel().tolist())
    if datatype.name == "BF16" and array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    if array.dtype.kind != datatype.dtype.kind or array.dtype.itemsize != datatype.itemsize:
        raise WireError(f"expected an array of {datatype.dtype.name} for {datatype.name}, got {array.dtype.name}")
    array = array.astype(datatype.dtype, copy=False)
    # Copying a few bytes is faster than making a view.
    return array.tobytes() if array.nbytes <= _COPIED_BYTES else bytes_of(array)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """View of the bytes of a numeric array, row-major. Copies unless it is C-contiguous. Requires: not empty."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def object_array(elements: Sequence[object], shape: Sequence[int]) -> NDArray[Any]:
    """Object array of elements in row-major order. ``numpy.array`` would guess a dtype, or look inside the elements."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def decode_typed(datatype: Datatype, shape: Sequence[int], contents: InferTensorContents) -> NDArray[Any]:
    """Decode typed contents into a new array.

    Args:
        datatype: Datatype of the tensor.
        shape: Every size is 0 or more.
        contents: ``contents`` of an input or output.

    Returns:
        For numbers, an array of the datatype's dtype. For BYTES, an object array of ``bytes``.

    Raises:
        WireError: The shape is impossible, the datatype has no typed form, the data are in another datatype's field,
            the number of elements is not that of the shape, or an integer is out of the datatype's range.
    """
    count = element_count(shape)
    field = datatype.contents_field
    if field is None:
        raise WireError(f"{datatype.name} has no typed form: send it in raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise WireError(f"typed data of {datatype.name} belong in {field}, but {descriptor.name} is set")
    values = getattr(contents, field)
    if len(values) != count:
        raise WireError(
            f"expected {count} elements in {field} for {datatype.name} {describe_shape(shape)}, got {len(values)}"
        )
    if not datatype.itemsize:
        return object_array(list(values), shape)
    minimum, maximum = datatype.minimum, datatype.maximum
    if minimum is None or maximum is None or datatype.itemsize >= _TYPED_INTEGER_BYTES:
        return np.fromiter(values, datatype.dtype, count).reshape(shape)
    wide = np.fromiter(values, np.int64, count)
    outside = np.flatnonzero((wide < minimum) | (wide > maximum))
    if outside.size:
        index = int(outside[0])
        raise WireError(f"element {index} is {wide[index]}, outside {datatype.name} ({minimum} to {maximum})")
    return wide.astype(datatype.dtype).reshape(shape)
