"""What counts as rounding."""

from __future__ import annotations

import numpy as np
import pytest

from sardonyx_server.engine.profiling.equivalence import EquivalenceCheck
from tests.server.engine.sessions import spec


def is_rounding(datatype: str, relative: float, *, takes: str = "FP32", on_cpu: bool = True) -> bool:
    """Whether a difference of this size, relative to the output's magnitude, passes."""
    output = spec("y", datatype)
    dtype = np.float64 if datatype == "FP64" else np.float32
    first, second = np.full((1, 4), 100, dtype), np.full((1, 4), 100 * (1 + relative), dtype)
    if datatype == "BF16":
        first, second = ((each.view(np.uint32) >> np.uint32(16)).astype(np.uint16) for each in (first, second))
    if datatype == "FP16":
        first, second = first.astype(np.float16), second.astype(np.float16)
    return EquivalenceCheck(inputs=(spec("x", takes),), on_cpu=on_cpu).difference(output, [first], [second]) == ""


@pytest.mark.parametrize(
    ("datatype", "passes", "fails"),
    [("FP32", 1e-4, 3e-3), ("FP64", 1e-4, 3e-3), ("FP16", 1e-2, 5e-2), ("BF16", 2e-2, 0.1)],
)
def test_each_float_has_its_own_measure(datatype: str, passes: float, fails: float) -> None:
    """The fewer bits, the looser."""
    assert is_rounding(datatype, passes)
    assert not is_rounding(datatype, fails)


def test_a_model_rounds_like_the_coarsest_float_it_takes() -> None:
    """FP16 in and FP32 out has computed in FP16."""
    assert is_rounding("FP32", 1e-2, takes="FP16")
    assert not is_rounding("FP32", 1e-2, takes="INT32")


def test_accelerators_are_measured_looser() -> None:
    """They may multiply FP32 as TF32."""
    assert is_rounding("FP32", 5e-3, on_cpu=False)
    assert not is_rounding("FP32", 5e-3, on_cpu=True)


def test_the_sign_of_zero_is_a_difference_of_nothing() -> None:
    """Not equal bit for bit, but no difference either."""
    zero = np.zeros((1, 2), np.float32)
    assert not EquivalenceCheck(inputs=(), on_cpu=True).difference(spec("y"), [zero], [-zero])
