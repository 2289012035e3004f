"""What a ratio with its interval says: slower, no slower, or that these repeats cannot tell. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from bench.bootstrap import Interval

__all__ = ["DETECTABLE", "LEAST_PAIRS", "LIMIT", "Verdict", "judge"]

LIMIT: Final = 1.10
"""p99 after / before. The gate fails where even the lower end of the interval is above it."""

DETECTABLE: Final = 1.20
"""What the gate promises to find. An interval that reaches beyond it may hide such a slowdown."""

LEAST_PAIRS: Final = 6
"""Fewer say nothing: with a fifth left out at each end, the bootstrap would draw from three or four."""


class Verdict(StrEnum):
    """Of one load."""

    SLOWER = "slower"
    """Beyond chance: the gate fails."""
    HOLDS = "no slower"
    """A slowdown that the gate promises to find is beyond chance, too."""
    UNCLEAR = "cannot tell"
    """Neither: the repeats differ too much from each other. More of them, or a quieter machine."""
    FAILS = "requests fail"
    """Those that the other server answers: the gate fails, whatever the p99 of the rest."""
    UNMEASURED = "not measured"
    """Too few pairs count."""


def judge(p99_ratio: Interval, pairs: int) -> Verdict:
    """The verdict on a load.

    Args:
        p99_ratio: After / before.
        pairs: That it stands on.
    """
    if pairs < LEAST_PAIRS:
        return Verdict.UNMEASURED
    if p99_ratio.low > LIMIT:
        return Verdict.SLOWER
    return Verdict.HOLDS if p99_ratio.high < DETECTABLE else Verdict.UNCLEAR
