"""Arrays <-> raw contents of a tensor, written for these tests alone: the project's own codec must not judge itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse

__all__ = ["Contents", "array_of", "contents_of", "contents_received", "put", "put_typed"]

# Datatype -> numpy's type, and the field of InferTensorContents where it has one.
_FORMS: Final = {
    "BOOL": ("?", "bool_contents"),
    "INT8": ("i1", "int_contents"),
    "INT16": ("<i2", "int_contents"),
    "INT32": ("<i4", "int_contents"),
    "INT64": ("<i8", "int64_contents"),
    "UINT8": ("u1", "uint_contents"),
    "UINT16": ("<u2", "uint_contents"),
    "UINT32": ("<u4", "uint_contents"),
    "UINT64": ("<u8", "uint64_contents"),
    "FP16": ("<f2", ""),
    "FP32": ("<f4", "fp32_contents"),
    "FP64": ("<f8", "fp64_contents"),
    "BF16": ("<u2", ""),
    "BYTES": ("O", "bytes_contents"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A tensor as it travels.

    Attributes:
        datatype: The protocol's name of it.
        shape: Its dimensions.
        raw: Row-major, little-endian; before each string its length in 4 bytes.
    """

    datatype: str
    shape: tuple[int, ...]
    raw: bytes

    def describe(self) -> str:
        """What tells it from another one, in a line."""
        return f"{self.datatype} {list(self.shape)}, {len(self.raw)} bytes from {self.raw[:16].hex() or 'none'}"


def contents_of(array: NDArray[Any], datatype: str) -> Contents:
    """What an array is on the wire; ``bfloat16`` of ml_dtypes is written as it lies in memory."""
    if datatype == "BYTES":
        texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel().tolist()]
        raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    else:
        raw = np.ascontiguousarray(array).tobytes()
    return Contents(datatype=datatype, shape=array.shape, raw=raw)


def array_of(contents: Contents) -> NDArray[Any]:
    """The array again: BF16 as its bits, BYTES as objects of ``str``."""
    if contents.datatype != "BYTES":
        return np.frombuffer(contents.raw, _FORMS[contents.datatype][0]).reshape(contents.shape)
    texts: list[str] = []
    rest = contents.raw
    while rest:
        (length,) = struct.unpack_from("<I", rest)
        texts.append(rest[4 : 4 + length].decode())
        rest = rest[4 + length :]
    return np.array(texts, object).reshape(contents.shape)


def put(message: ModelInferRequest, name: str, contents: Contents) -> None:
    """Add an input to a request."""
    message.inputs.add(name=name, datatype=contents.datatype, shape=contents.shape)
    message.raw_input_contents.append(contents.raw)


def put_typed(message: ModelInferRequest, name: str, contents: Contents) -> None:
    """Add an input with typed contents. Requires: its datatype has such a form."""
    field = {"BYTES": "bytes_contents", **{key: field for key, (_, field) in _FORMS.items() if field}}[
        contents.datatype
    ]
    tensor = message.inputs.add(name=name, datatype=contents.datatype, shape=contents.shape)
    values = array_of(contents).ravel().tolist()
    tensor.contents.SetInParent()
    getattr(tensor.contents, field).extend(
        [text.encode() for text in values] if contents.datatype == "BYTES" else values
    )


def contents_received(response: ModelInferResponse) -> list[Contents]:
    """Outputs of an answer, in its order; raises where there is not exactly one entry for each."""
    return [
        Contents(datatype=output.datatype, shape=tuple(output.shape), raw=raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    ]
