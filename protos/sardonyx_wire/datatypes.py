"""Table of the datatypes of the protocol: name, numpy dtype, size and fields. tensors.py converts the data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BY_CONFIG_NAME", "DATATYPES", "Datatype", "for_dtype"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datatype:
    """One datatype of the protocol.

    Attributes:
        name: Name on the wire, such as ``FP32``.
        dtype: numpy dtype of its arrays, little-endian. BF16 is ``uint16`` (its raw bits); BYTES is ``object``.
        itemsize: Size of one element in bytes; 0 for BYTES, whose elements vary in length.
        contents_field: Its field of ``InferTensorContents``; None for FP16 and BF16, which have no typed form.
        config_name: Member of the enum ``DataType`` in a ModelConfig, such as ``TYPE_FP32``.
        minimum: Smallest value, for integers; None otherwise.
        maximum: Largest value, for integers; None otherwise.
    """

    name: str
    dtype: np.dtype[Any]
    itemsize: int
    contents_field: str | None
    config_name: str
    minimum: int | None = None
    maximum: int | None = None


def _number(name: str, dtype: str, contents_field: str | None) -> Datatype:
    limits = np.iinfo(dtype) if name.removeprefix("U").startswith("INT") else None
    return Datatype(
        name=name,
        dtype=np.dtype(dtype),
        itemsize=np.dtype(dtype).itemsize,
        contents_field=contents_field,
        config_name=f"TYPE_{name}",
        minimum=int(limits.min) if limits else None,
        maximum=int(limits.max) if limits else None,
    )


DATATYPES: Final[Mapping[str, Datatype]] = MappingProxyType(
    {
        datatype.name: datatype
        for datatype in (
            _number("BOOL", "?", "bool_contents"),
            _number("INT8", "i1", "int_contents"),
            _number("INT16", "<i2", "int_contents"),
            _number("INT32", "<i4", "int_contents"),
            _number("INT64", "<i8", "int64_contents"),
            _number("UINT8", "u1", "uint_contents"),
            _number("UINT16", "<u2", "uint_contents"),
            _number("UINT32", "<u4", "uint_contents"),
            _number("UINT64", "<u8", "uint64_contents"),
            _number("FP16", "<f2", None),
            _number("FP32", "<f4", "fp32_contents"),
            _number("FP64", "<f8", "fp64_contents"),
            _number("BF16", "<u2", None),
            Datatype(
                name="BYTES",
                dtype=np.dtype(object),
                itemsize=0,
                contents_field="bytes_contents",
                config_name="TYPE_STRING",
            ),
        )
    }
)
"""Datatype by its name on the wire."""

BY_CONFIG_NAME: Final[Mapping[str, Datatype]] = MappingProxyType({d.config_name: d for d in DATATYPES.values()})
"""Datatype by its name in a ModelConfig."""

# Keyed by kind and size, so byte order does not matter. BF16 is absent: uint16 means UINT16.
_BY_KIND: Final = {
    (datatype.dtype.kind, datatype.itemsize): datatype
    for datatype in DATATYPES.values()
    if datatype.name not in ("BF16", "BYTES")
}


def for_dtype(dtype: np.dtype[Any]) -> Datatype | None:
    """The datatype for arrays of ``dtype``; None where there is none.

    Text, ``bytes`` and ``object`` arrays are BYTES. ``bfloat16`` of ml_dtypes is BF16. It is recognised by
    name, so ml_dtypes need not be installed.
    """
    if dtype.kind in "OSUT":
        return DATATYPES["BYTES"]
    if dtype.name == "bfloat16":
        return DATATYPES["BF16"]
    return _BY_KIND.get((dtype.kind, dtype.itemsize))
