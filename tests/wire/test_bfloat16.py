"""BF16 to float32 and back."""

from __future__ import annotations

import numpy as np

from sardonyx_wire.bfloat16 import from_bfloat16, to_bfloat16


def test_bfloat16_rounds_to_nearest_even_and_keeps_nan() -> None:
    """The halfway case goes to the even neighbour; a NaN never becomes an infinity."""
    values = np.array([0x3F808000, 0x3F818000, 0x7FFFFFFF, 0x7F800000], np.uint32).view(np.float32)
    bits = to_bfloat16(values)
    assert bits.tolist() == [0x3F80, 0x3F82, 0x7FC0, 0x7F80]
    assert from_bfloat16(bits[:2]).tolist() == [1.0, 1.015625]
