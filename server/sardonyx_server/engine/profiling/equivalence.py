"""Equivalence check: compares the outputs for a row that was run in a batch with those of the row run alone.

Differences within rounding are accepted, because kernels differ by batch size. Runs nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sardonyx_wire.tensors import describe_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sardonyx_wire.tensors import TensorSpec

__all__ = ["EquivalenceCheck"]

# Accepted rounding difference, relative to the greatest magnitude in the output. FP32 kernels on a CPU were seen to
# differ by 6e-5 (magika, one row against two), and many graphs with FP64 outputs compute in FP32; FP16 and BF16 have 11
# and 8 bits of mantissa. Rows that influence each other differ by far more: the least seen is 4e-3, from scales
# computed over a whole batch.
_TOLERANCES: Final = {"FP64": 1e-3, "FP32": 1e-3, "FP16": 2e-2, "BF16": 5e-2}
# Accelerators may multiply FP32 as TF32, with 10 bits of mantissa, in some kernels only.
_ACCELERATOR_TOLERANCE: Final = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceCheck:
    """The rounding tolerance of one model, and the comparison by it.

    Attributes:
        inputs: As the graph declares them. A model rounds like the coarsest floating-point type of its inputs and
            outputs.
        on_cpu: Whether the graph runs on the CPU.
    """

    inputs: tuple[TensorSpec, ...]
    on_cpu: bool

    def tolerance(self, spec: TensorSpec) -> float:
        """Greatest accepted difference, relative to the magnitude of the output; 0 unless it is floating-point."""
        if spec.datatype not in _TOLERANCES:
            return 0.0
        found = [_TOLERANCES[each.datatype] for each in (spec, *self.inputs) if each.datatype in _TOLERANCES]
        return max(*found, 0.0 if self.on_cpu else _ACCELERATOR_TOLERANCE)

    def difference(self, spec: TensorSpec, first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> str:
        """Compare an output row by row.

        Args:
            spec: The output.
            first: Its rows, one array [1, ...] each.
            second: The same rows from another run.

        Returns:
            The difference over all rows, for people: ``difference 0.12``, ``2 of 3 rows differ``; "" if it is within
            rounding.
        """
        for one, other in zip(first, second, strict=True):
            if one.shape != other.shape:
                return f"shape {describe_shape(other.shape)} alone, {describe_shape(one.shape)} together"
        unequal = sum(not _bits_equal(one, other) for one, other in zip(first, second, strict=True))
        if not unequal:
            return ""
        tolerance = self.tolerance(spec)
        if not tolerance:
            return f"{unequal} of {len(first)} rows differ"
        amount, scale = _distance(_floats(spec, first), _floats(spec, second))
        return "" if amount <= tolerance * scale else f"difference {amount:.2g}"


def _bits_equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether arrays are bit-identical, including NaN and the sign of zero. Requires: equal shapes."""
    if one.dtype.hasobject:
        return bool(np.array_equal(one, other))
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _floats(spec: TensorSpec, rows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Concatenate all rows as FP64."""
    joined = np.concatenate([row.reshape(-1) for row in rows])
    if spec.datatype == "BF16":
        joined = (joined.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return joined.astype(np.float64)


def _distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Return (greatest absolute difference, greatest magnitude). The difference is inf if infinities or NaN differ."""
    finite = np.isfinite(second)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return float("inf"), 0.0
    difference = np.abs(first[finite] - second[finite])
    if not difference.size:
        return 0.0, 0.0
    greatest = float(np.max(difference))
    return (greatest if np.isfinite(greatest) else float("inf")), float(np.max(np.abs(second[finite])))
