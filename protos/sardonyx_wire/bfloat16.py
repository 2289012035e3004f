"""BF16 <-> float32. numpy has no bfloat16, so BF16 arrays hold its bits as ``uint16``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_bfloat16", "to_bfloat16"]


def to_bfloat16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Convert to the bits of bfloat16. Rounds to nearest, ties to even; NaN stays NaN."""
    bits = array.view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    # Rounding a NaN could carry into the exponent and make it an infinity.
    return np.where(np.isnan(array), np.uint16(0x7FC0), rounded)


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert the bits of bfloat16 to float32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
