"""Inputs and outputs of a session as onnxruntime reports them, as tensor specs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.text import quoted
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["session_signature"]

_DATATYPES: Final[Mapping[str, str]] = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
_TENSOR: Final = re.compile(r"(optional\()?tensor\((\w+)\)\)?")


def session_signature(native: Any, name: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a session.

    onnxruntime reports [] both for a scalar and for an undeclared shape; both become ``shape=None``.

    Raises:
        LoadFailed: One of them is not a tensor, or has a datatype that the protocol lacks.
    """
    return (
        tuple(
            _spec(argument, f"input {quoted(argument.name)} of model {quoted(name)}")
            for argument in native.get_inputs()
        ),
        tuple(
            _spec(argument, f"output {quoted(argument.name)} of model {quoted(name)}")
            for argument in native.get_outputs()
        ),
    )


def _spec(argument: Any, what: str) -> TensorSpec:
    match = _TENSOR.fullmatch(argument.type)
    if match is None:
        is_zipped = argument.type.startswith("seq(map(")
        way_out = "export the model with zipmap=False" if is_zipped else "export the model with tensors only"
        raise LoadFailed(f"{what} is {_article(argument.type)}, and only tensors can be served; {way_out}")
    datatype = _DATATYPES.get(match[2])
    if datatype is None:
        raise LoadFailed(f"{what} is of type {match[2]}, which the protocol does not have; cast it inside the model")
    sizes = argument.shape or None
    return TensorSpec(
        name=argument.name,
        datatype=datatype,
        shape=None if sizes is None else tuple(size if isinstance(size, int) and size >= 0 else -1 for size in sizes),
        dim_names=() if sizes is None else tuple(size if isinstance(size, str) else "" for size in sizes),
        optional=match[1] is not None,
    )


def _article(kind: str) -> str:
    if kind.startswith("seq(map("):
        return "a sequence of maps"
    for prefix, words in (("seq(", "a sequence"), ("map(", "a map"), ("sparse_tensor(", "a sparse tensor")):
        if kind.startswith(prefix):
            return words
    return "no plain tensor"
