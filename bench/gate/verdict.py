"""The verdict from a ratio and its confidence interval: slower, no slower, or inconclusive. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from bench.bootstrap import Interval

__all__ = ["DETECTABLE", "LEAST_PAIRS", "LIMIT", "Verdict", "judge"]

LIMIT: Final = 1.10
"""Limit of p99 after / before. The gate fails if even the lower end of the interval is above it."""

DETECTABLE: Final = 1.20
"""The slowdown that the gate is designed to detect. An interval that reaches beyond it may hide one."""

LEAST_PAIRS: Final = 6
"""With fewer the interval is meaningless: trimmed by a fifth at each end, only three or four would be left."""


class Verdict(StrEnum):
    """Verdict on one load."""

    SLOWER = "slower"
    """Significantly slower: the gate fails."""
    HOLDS = "no slower"
    """A slowdown of the detectable size is excluded."""
    UNCLEAR = "cannot tell"
    """Inconclusive: the repeats vary too much. Measure longer, or on a quieter machine."""
    FAILS = "requests fail"
    """Requests fail that succeed on the other server: the gate fails, whatever the p99 of the rest."""
    UNMEASURED = "not measured"
    """Too few valid pairs."""


def judge(p99_ratio: Interval, pairs: int) -> Verdict:
    """The verdict on a load.

    Args:
        p99_ratio: After / before.
        pairs: Number of pairs it is based on.
    """
    if pairs < LEAST_PAIRS:
        return Verdict.UNMEASURED
    if p99_ratio.low > LIMIT:
        return Verdict.SLOWER
    return Verdict.HOLDS if p99_ratio.high < DETECTABLE else Verdict.UNCLEAR
