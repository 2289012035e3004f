"""Outputs as bytes: of one run, to be cut into rows, or of one request, which are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sardonyx_wire.protobuf_fields import LARGE_PAYLOAD_BYTES
from sardonyx_wire.tensors import bytes_of, encode_bytes_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["OWN_SHARE", "BatchOutputs", "Outputs", "RequestOutputs"]

OWN_SHARE: Final = 8
"""An answer of large rows is sent from the arrays of its run. One that is less than this part of them is copied first:
a caller that reads slowly would keep the rows of all others in memory. With 8 in place of 4 a model that answers 602 kB
answered 1.11 times as often, because its runs are larger (2 cores, 2026-11-26)."""

_COPIED_BYTES: Final = 64 * 1024
# Outputs of a classifier.
_PAIR: Final = 2


class BatchOutputs:
    """The arrays of one run.

    Args:
        arrays: Outputs in the order asked for; numbers, or objects (`str`) for BYTES.
        has_batch_axis: Whether the first axis counts rows. Otherwise the one job of the run gets all of every array.
        began_s: When the batch began to be gathered, on ``time.monotonic``.
        ran_s: When the run had ended, likewise.

    Attributes:
        row_shapes: Dimensions of each output behind the batch axis, or all of them where there is none.
    """

    __slots__ = ("_columns", "_has_strings", "_is_small", "began_s", "ran_s", "row_shapes")

    def __init__(
        self, arrays: Sequence[NDArray[np.generic]], *, has_batch_axis: bool, began_s: float, ran_s: float
    ) -> None:
        self.began_s = began_s
        self.ran_s = ran_s
        self._has_strings = False
        # Of what is less than LARGE_PAYLOAD_BYTES as a whole, any rows are a plain slice.
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
                # Copying a few bytes is quicker than making a view of them.
                data = array.tobytes() if array.nbytes <= _COPIED_BYTES else bytes_of(array)
                size = len(data)
                if size >= LARGE_PAYLOAD_BYTES:
                    is_small = False
                columns.append((data, size // rows if rows else 0))
        self._columns = columns
        self._is_small = is_small
        self.row_shapes = tuple(row_shapes)

    def rows(self, start: int, stop: int) -> Sequence[bytes | memoryview]:
        """Raw contents of each output for these rows: views of large numbers, which keep the arrays in memory."""
        if self._is_small:
            columns = self._columns
            # Nearly all models have one output or two, and a comprehension takes longer than their slices.
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
                else _cut(data, start * width, stop * width)
                for data, width in self._columns
            ]
        return [_cut(data, start * width, stop * width) for data, width in self._columns]  # type: ignore[arg-type]  # no strings


def _cut(data: bytes | memoryview, start: int, stop: int) -> bytes | memoryview:
    """Some of an output: a view of what will be copied anyway, or is a good share of it; else a copy."""
    size = stop - start
    return data[start:stop] if size < LARGE_PAYLOAD_BYTES or size * OWN_SHARE >= len(data) else bytes(data[start:stop])


class RequestOutputs:
    """The outputs of one request, cut out or joined.

    Args:
        row_shapes: Dimensions of each output behind the batch axis, or all of them where there is none.
        data: Raw contents of each output, for all rows of the request.
        began_s: When its first batch began to be gathered, on ``time.monotonic``.
        ran_s: When its last run had ended, likewise.
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

    def rows(self, start: int, stop: int) -> Sequence[bytes | memoryview]:  # noqa: ARG002  # they are all rows there are
        """Raw contents of each output. Requires: the rows are those of the request."""
        return self._data

    def copy(self) -> RequestOutputs:
        """The same on bytes of its own, that keep no batch in memory."""
        data: list[bytes | memoryview] = [bytes(part) for part in self._data]
        return RequestOutputs(self.row_shapes, data, began_s=self.began_s, ran_s=self.ran_s)


Outputs = BatchOutputs | RequestOutputs
