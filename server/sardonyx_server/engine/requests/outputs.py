"""Output slicing: the outputs of a run as bytes, from which each request gets its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sardonyx_wire.protobuf_fields import LARGE_PAYLOAD_BYTES
from sardonyx_wire.tensors import bytes_of, encode_bytes_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["VIEW_SHARE", "BatchOutputs", "Outputs", "RequestOutputs"]

VIEW_SHARE: Final = 8
"""Large answers are sent as views of the arrays of their run. An answer that is less than 1/8 of them is copied:
otherwise a caller that reads slowly would keep the rows of all others in memory. With 8 instead of 4, a model with
answers of 602 kB answered 1.11 times as often, because its runs are larger (2 cores, 2026-11-26)."""

_COPIED_BYTES: Final = 64 * 1024
# The number of outputs of many classifiers: labels and scores.
_PAIR: Final = 2


class BatchOutputs:
    """The arrays of one run.

    Args:
        arrays: Outputs in the requested order; numbers, or objects (`str`) for BYTES.
        has_batch_axis: Whether the first axis counts rows. Otherwise the single job of the run gets the whole arrays.
        began_s: When gathering of the inputs began, on ``time.monotonic``.
        ran_s: When the run ended, on ``time.monotonic``.

    Attributes:
        row_shapes: Shape of a row of each output, without the batch axis; the whole shape if there is no batch axis.
    """

    __slots__ = ("_columns", "_has_strings", "_is_small", "began_s", "ran_s", "row_shapes")

    def __init__(
        self, arrays: Sequence[NDArray[np.generic]], *, has_batch_axis: bool, began_s: float, ran_s: float
    ) -> None:
        self.began_s = began_s
        self.ran_s = ran_s
        self._has_strings = False
        # Whether every output is smaller than LARGE_PAYLOAD_BYTES, so that rows are plain slices.
        is_small = True
        columns: list[tuple[bytes | memoryview | NDArray[np.generic], int]] = []
        row_shapes = []
        for array in arrays:
            shape = array.shape
            if has_batch_axis:
                rows = shape[0]
                row_shapes.append(shape[1:])
            else:
                rows = 1
                row_shapes.append(shape)
            if array.dtype.hasobject:
                self._has_strings = True
                is_small = False
                columns.append((array.reshape(-1), array.size // rows if rows else 0))
            else:
                # For a few bytes a copy is faster than a view.
                data = array.tobytes() if array.nbytes <= _COPIED_BYTES else bytes_of(array)
                size = len(data)
                if size >= LARGE_PAYLOAD_BYTES:
                    is_small = False
                columns.append((data, size // rows if rows else 0))
        self._columns = columns
        self._is_small = is_small
        self.row_shapes = tuple(row_shapes)

    def rows(self, start: int, stop: int) -> Sequence[bytes | memoryview]:
        """Return the raw contents of each output for these rows. Large ones are views and keep the arrays in memory."""
        if self._is_small:
            columns = self._columns
            # Nearly all models have one or two outputs, for which a comprehension would take longer than the slicing.
            if len(columns) == 1:
                data, width = columns[0]
                return (data[start * width : stop * width],)  # type: ignore[return-value]  # no strings
            if len(columns) == _PAIR:
                (data, width), (other, other_width) = columns
                return data[start * width : stop * width], other[start * other_width : stop * other_width]  # type: ignore[return-value]  # likewise
            return [data[start * width : stop * width] for data, width in columns]  # type: ignore[misc]  # no strings
        if self._has_strings:
            return [
                encode_bytes_elements(data[start * width : stop * width].tolist())
                if isinstance(data, np.ndarray)
                else _slice(data, start * width, stop * width)
                for data, width in self._columns
            ]
        return [_slice(data, start * width, stop * width) for data, width in self._columns]  # type: ignore[arg-type]  # no strings


def _slice(data: bytes | memoryview, start: int, stop: int) -> bytes | memoryview:
    """Slice an output: a view if it is small enough to be copied anyway or a good share of the output; else a copy."""
    size = stop - start
    return data[start:stop] if size < LARGE_PAYLOAD_BYTES or size * VIEW_SHARE >= len(data) else bytes(data[start:stop])


class RequestOutputs:
    """The outputs of one request, sliced from a batch or joined from parts.

    Args:
        row_shapes: Shape of a row of each output, without the batch axis; the whole shape if there is no batch axis.
        data: Raw contents of each output, for all rows of the request.
        began_s: When gathering for its first batch began, on ``time.monotonic``.
        ran_s: When its last run ended, on ``time.monotonic``.
    """

    __slots__ = ("_data", "began_s", "ran_s", "row_shapes")

    def __init__(
        self,
        row_shapes: tuple[tuple[int, ...], ...],
        data: Sequence[bytes | memoryview],
        *,
        began_s: float,
        ran_s: float,
    ) -> None:
        self.row_shapes = row_shapes
        self._data = data
        self.began_s = began_s
        self.ran_s = ran_s

    @property
    def data_bytes(self) -> int:
        """Size of the contents."""
        return sum(map(len, self._data))

    def rows(self, start: int, stop: int) -> Sequence[bytes | memoryview]:  # noqa: ARG002  # as BatchOutputs has them
        """Return the raw contents of each output. Requires: the rows are all rows of the request."""
        return self._data

    def copy(self) -> RequestOutputs:
        """Return a copy that keeps no batch in memory."""
        data: list[bytes | memoryview] = [bytes(part) for part in self._data]
        return RequestOutputs(self.row_shapes, data, began_s=self.began_s, ran_s=self.ran_s)


Outputs = BatchOutputs | RequestOutputs
