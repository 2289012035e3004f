"""What the gate says of an interval."""

from __future__ import annotations

import pytest

from bench.bootstrap import Interval
from bench.gate.verdict import LEAST_PAIRS, Verdict, judge


@pytest.mark.parametrize(
    ("low", "centre", "high", "expected"),
    [
        (1.11, 1.20, 1.30, Verdict.SLOWER),
        (1.10, 1.20, 1.30, Verdict.UNCLEAR),  # the limit itself is not above the limit
        (0.97, 1.00, 1.03, Verdict.HOLDS),
        (1.05, 1.08, 1.11, Verdict.HOLDS),
        (0.70, 1.00, 1.40, Verdict.UNCLEAR),
        (0.50, 0.60, 0.70, Verdict.HOLDS),  # faster
    ],
)
def test_the_lower_end_decides_whether_it_is_slower(low: float, centre: float, high: float, expected: Verdict) -> None:
    """And the upper end whether a slowdown of a fifth may hide."""
    assert judge(Interval(centre=centre, low=low, high=high), LEAST_PAIRS) is expected


def test_few_pairs_say_nothing() -> None:
    """However clear they look."""
    assert judge(Interval(centre=2.0, low=1.9, high=2.1), LEAST_PAIRS - 1) is Verdict.UNMEASURED
