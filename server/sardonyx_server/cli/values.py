"""Parses ``name=value`` arguments into numpy arrays of a model's datatypes, and converts arrays to JSON.

    X=[[5.1,3.5,1.4,0.2]]   JSON; a missing batch axis is added, a bare number fills a shape of one element
    text=hello              a string, if the input takes strings; ["a","b"] for several
    X=@rows.npy             a NumPy array; never pickled objects
    X=@rows.json            JSON from a file
    X=@zeros                zeros (empty strings) in the declared shape, 1 for each dynamic axis
    X=@zeros[1,3,224,224]   zeros in this shape

Every error message names the input, what was expected and what was given.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sardonyx_server.errors import InvalidRequest
from sardonyx_server.setting_types import expand_home
from sardonyx_wire.bfloat16 import from_bfloat16, to_bfloat16
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import TensorSpec

__all__ = ["parse_inputs", "split_argument", "to_json"]

Array = npt.NDArray[Any]
_ZEROS = re.compile(r"@zeros(?:\[(?P<shape>\d{1,9}(?:,\d{1,9})*|)\])?")
# More than fits into any message, but fits into memory.
_MOST_ZEROS = 1 << 28
_LARGEST = {"FP16": "65504", "BF16": "3.3895314e+38", "FP32": "3.4028235e+38", "FP64": "1.7976931348623157e+308"}


def split_argument(argument: str) -> tuple[str, str]:
    """``name=value`` -> (name, value). The name ends at the first ``=``.

    Raises:
        InvalidRequest: There is no ``=``, or nothing before it.
    """
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise InvalidRequest(f"expected name=value, name=@file.npy or name=@file.json, got {argument!r}")
    return name, value


def parse_inputs(arguments: Sequence[str], specs: Sequence[TensorSpec], *, model: str) -> dict[str, Array]:
    """Parse the arguments of ``infer``: input name -> array, in the order given.

    Args:
        arguments: ``name=value`` each.
        specs: The model's inputs.
        model: Its name, for messages.

    Raises:
        InvalidRequest: An input is unknown, repeated or missing, or a value does not fit its datatype or rank.
    """
    known = {spec.name: spec for spec in specs}
    signature = ", ".join(f"{spec.name} {spec.datatype} {_shape(spec.shape)}" for spec in specs)
    arrays: dict[str, Array] = {}
    for name, value in map(split_argument, arguments):
        if name not in known:
            raise InvalidRequest(f"model {model!r} has no input {name!r}; it takes: {signature}")
        if name in arrays:
            raise InvalidRequest(f"input {name!r} is given twice")
        arrays[name] = _read(value, known[name])
    missing = [spec.name for spec in specs if not spec.optional and spec.name not in arrays]
    if missing:
        raise InvalidRequest(f"model {model!r} needs input {missing[0]!r}; it takes: {signature}")
    return arrays


def to_json(array: Array, datatype: str) -> Any:
    r"""A tensor of a response as JSON values; BYTES that are not UTF-8 are shown with \\xNN escapes."""
    if datatype == "BF16" and array.dtype == np.uint16:
        array = from_bfloat16(array)
    if datatype == "BYTES":
        texts = [
            item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else str(item) for item in array.flat
        ]
        return np.array(texts, dtype=object).reshape(array.shape).tolist()
    if array.dtype in (np.float16, np.float32):
        # The shortest text for the value: 0.9733749, not 0.9733749032020569, its value as a double.
        array = array.astype(str).astype(np.float64)
    return array.tolist()


def _read(value: str, spec: TensorSpec) -> Array:
    if zeros := _ZEROS.fullmatch(value):
        return _zeros(spec, zeros["shape"])
    if value.startswith("@"):
        return _from_file(expand_home(Path(value[1:])), spec)
    if spec.datatype == "BYTES":
        return _with_rank(_strings(_text_or_list(value, spec), spec), spec)
    try:
        parsed = _loads(value, spec)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"input {spec.name!r}: {value!r} is not JSON: write a number or a nested list") from None
    return _with_rank(_numbers(parsed, spec), spec)


def _loads(text: str, spec: TensorSpec) -> Any:
    """Parse JSON; a number that overflows to infinity is an error unless it is written as Infinity."""

    def number(literal: str) -> float:
        value = float(literal)
        if math.isinf(value) and spec.datatype in _LARGEST:
            raise _too_large(literal, spec)
        return value

    return json.loads(text, parse_float=number)


def _too_large(value: object, spec: TensorSpec) -> InvalidRequest:
    return InvalidRequest(
        f"input {spec.name!r}: {value} does not fit {spec.datatype}, whose largest number is "
        f"{_LARGEST[spec.datatype]}; write Infinity or -Infinity if that is meant"
    )


def _from_file(path: Path, spec: TensorSpec) -> Array:
    try:
        if path.suffix == ".npy":
            return _with_rank(_converted(_npy(path), spec), spec)
        if path.suffix == ".json":
            parsed = _loads(path.read_text(encoding="utf-8"), spec)
            read = _strings if spec.datatype == "BYTES" else _numbers
            return _with_rank(read(parsed, spec), spec)
    except OSError as error:
        raise InvalidRequest(f"input {spec.name!r}: cannot read {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, EOFError, RecursionError) as error:  # EOFError: from NumPy, for an empty file
        raise InvalidRequest(f"input {spec.name!r}: {str(path)!r} cannot be used: {error}") from None
    raise InvalidRequest(f"input {spec.name!r}: expected a file that ends in .npy or .json, got {str(path)!r}")


def _npy(path: Path) -> Array:
    # No pickle: unpickling can run arbitrary code.
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise ValueError("it holds several arrays, as .npz files do")  # noqa: TRY004  # becomes a message
    return loaded


def _text_or_list(value: str, spec: TensorSpec) -> object:
    if not value.startswith(("[", '"')):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise InvalidRequest(
            f"input {spec.name!r}: {value!r} is not JSON: quote strings in a list, "
            "or a string that begins with a bracket"
        ) from None


def _strings(parsed: object, spec: TensorSpec) -> Array:
    flat: list[str] = []
    shape = _shape_of_lists(parsed, spec)
    _flatten(parsed, flat)
    for item in flat:
        if not isinstance(item, str):
            raise InvalidRequest(f"input {spec.name!r}: expected strings (BYTES), got {item!r}")
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _numbers(parsed: object, spec: TensorSpec) -> Array:
    flat: list[Any] = []
    shape = _shape_of_lists(parsed, spec)
    _flatten(parsed, flat)
    for item in flat:
        if not isinstance(item, (bool, int, float)):
            raise InvalidRequest(f"input {spec.name!r}: expected numbers ({spec.datatype}), got {item!r}")
    whole = all(isinstance(item, int) for item in flat)
    if spec.datatype == "BOOL":
        wrong = next((item for item in flat if item not in (0, 1)), None)
        if wrong is not None:
            raise InvalidRequest(f"input {spec.name!r}: expected true or false (BOOL), got {wrong!r}")
        array = np.array(flat, dtype=bool)
    elif whole and spec.datatype not in ("FP16", "FP32", "FP64", "BF16"):
        # Kept as Python integers until their range is checked: numpy would wrap around or raise its own error.
        array = np.array(flat, dtype=object)
    else:
        try:
            array = np.array([float(item) for item in flat], dtype=np.float64)
        except OverflowError:
            if spec.datatype not in _LARGEST:
                raise InvalidRequest(f"input {spec.name!r}: expected {spec.datatype}, got fractions") from None
            raise _too_large("a whole number of more than 308 digits", spec) from None
    return _converted(array.reshape(shape), spec)


def _converted(array: Array, spec: TensorSpec) -> Array:
    """Convert to the datatype of the input; only floating-point precision may be lost."""
    datatype, kind = spec.datatype, array.dtype.kind
    if datatype == "BYTES":
        if kind not in "US":
            raise ValueError(f"expected strings (BYTES), got {array.dtype}")
        return array.astype(str).astype(object)
    dtype = np.dtype(DATATYPES[datatype].dtype)
    if datatype == "BF16" and kind in "fiubO":
        with np.errstate(over="ignore"):
            bits = to_bfloat16(array.astype(np.float32))
        _check_finite(array, from_bfloat16(bits), spec)
        return bits
    if dtype.kind == "f" and kind in "fiub":
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        _check_finite(array, converted, spec)
        return converted
    if dtype.kind == "b" and kind == "b":
        return array
    if dtype.kind in "iu" and kind in "iubO":
        limits = np.iinfo(dtype)
        for extreme in (array.min(), array.max()) if array.size else ():
            if not limits.min <= int(extreme) <= limits.max:
                raise InvalidRequest(
                    f"input {spec.name!r}: expected whole numbers from {limits.min} to {limits.max} ({datatype}), "
                    f"got {int(extreme)}"
                )
        return array.astype(dtype)
    came = "fractions" if kind == "f" else str(array.dtype)
    raise InvalidRequest(f"input {spec.name!r}: expected {datatype}, got {came}")


def _check_finite(array: Array, converted: Array, spec: TensorSpec) -> None:
    lost = np.isinf(converted) & np.isfinite(array)
    if lost.any():
        raise _too_large(array[lost].flat[0], spec)


def _with_rank(array: Array, spec: TensorSpec) -> Array:
    """Adds omitted axes: all axes for a shape of one element, or the batch axis for a single row."""
    shape = spec.shape
    if shape is None or array.ndim == len(shape):
        return array
    if array.ndim == 0 and all(axis in (-1, 1) for axis in shape):
        return array.reshape((1,) * len(shape))
    if array.ndim == len(shape) - 1 and shape[0] in (-1, 1):
        return array.reshape((1, *array.shape))
    return array  # the server reports this better


def _zeros(spec: TensorSpec, given: str | None) -> Array:
    declared = tuple(1 if axis < 0 else axis for axis in spec.shape or ())
    shape = declared if given is None else tuple(int(axis) for axis in given.split(",") if axis)
    if math.prod(shape) > _MOST_ZEROS:
        raise InvalidRequest(f"input {spec.name!r}: expected at most {_MOST_ZEROS:,} zeros, got {math.prod(shape):,}")
    if spec.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=DATATYPES[spec.datatype].dtype)


def _shape_of_lists(parsed: object, spec: TensorSpec) -> tuple[int, ...]:
    if not isinstance(parsed, list):
        return ()
    inner = {_shape_of_lists(item, spec) for item in parsed}
    if len(inner) > 1:
        raise InvalidRequest(
            f"input {spec.name!r}: the lists are ragged: expected the same length everywhere on one level"
        )
    return (len(parsed), *(inner.pop() if inner else ()))


def _flatten(parsed: object, into: list[Any]) -> None:
    if isinstance(parsed, list):
        for item in parsed:
            _flatten(item, into)
    else:
        into.append(parsed)


def _shape(shape: Sequence[int] | None) -> str:
    return "[any]" if shape is None else "[" + ",".join(map(str, shape)) + "]"
