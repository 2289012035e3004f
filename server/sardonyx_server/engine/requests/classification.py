"""The classification extension: the top values of an output with their indices and labels, formatted as Triton does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.bfloat16 import from_bfloat16
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import encode_bytes_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sardonyx_wire.tensors import TensorSpec

__all__ = ["TopClasses"]

_UNRANKED: Final = ("BOOL", "BYTES")


class TopClasses:
    """Converts one output to its top classes.

    Args:
        spec: The output; its labels are appended to the classes.
        count: Classes to return for each row, at least 1; capped at the number of values.
        model_name: For messages.
        field: Path of the parameter in the request.

    Raises:
        InvalidRequest: Values of the datatype cannot be ranked.
    """

    __slots__ = ("_count", "_datatype", "_labels")

    def __init__(self, spec: TensorSpec, count: int, *, model_name: str, field: str) -> None:
        if spec.datatype in _UNRANKED:
            raise InvalidRequest(
                f"parameter 'classification' of output '{spec.name}' of model '{model_name}': expected an output of "
                f"numbers, but it is {spec.datatype}",
                field=field,
            )
        self._count = count
        self._datatype = DATATYPES[spec.datatype]
        self._labels = spec.labels

    def render(self, data: bytes | memoryview, rows: int) -> tuple[int, bytes]:
        """Return the top classes of some rows.

        The axes behind the batch axis are flattened. The greatest values come first, equal ones by index, NaN last.
        Each class is ``value:index`` or ``value:index:label``, with the value as formatted by C++'s ``std::to_string``.

        Args:
            data: Raw contents of the output.
            rows: Number of rows in ``data``.

        Returns:
            (number of classes of a row, raw contents of BYTES [rows, classes]).
        """
        values: NDArray[Any] = np.frombuffer(data, self._datatype.dtype).reshape(rows, -1)
        if self._datatype.name == "BF16":
            values = from_bfloat16(values)
        is_float = values.dtype.kind == "f"
        # ~x falls as x rises and, unlike -x, never overflows for integers.
        descending: NDArray[Any] = -values if is_float else np.invert(values)
        order = np.argsort(descending, axis=1, kind="stable")[:, : self._count]
        best = np.take_along_axis(values, order, axis=1)
        form = "{:f}:{}".format if is_float else "{}:{}".format
        labels = self._labels
        texts = [
            f"{form(value, index)}:{labels[index]}" if index < len(labels) and labels[index] else form(value, index)
            for row, indices in zip(best.tolist(), order.tolist(), strict=True)
            for value, index in zip(row, indices, strict=True)
        ]
        return order.shape[1], encode_bytes_elements(texts)
