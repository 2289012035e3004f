"""The gate's closing lines and its exit status. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from bench.gate.comparison import Comparison
from bench.gate.verdict import DETECTABLE, LIMIT, Verdict

__all__ = ["Status", "closing_lines_and_status"]


class Status(IntEnum):
    """Exit status."""

    PASSED = 0
    WORSE = 1
    UNMEASURED = 2


def closing_lines_and_status(found: Sequence[Comparison]) -> tuple[list[str], Status]:
    """Closing lines and exit status. A regression takes precedence over a load that was not measured."""
    words = []
    if unclear := _named(found, Verdict.UNCLEAR):
        words.append(
            f"cannot tell on {unclear}: a slowdown by a factor of {DETECTABLE:.2f} could hide in the noise; measure "
            "longer (--starts, --seconds), or on a quieter machine"
        )
    if missing := _named(found, Verdict.UNMEASURED):
        words.append(f"not measured: {missing}")
    if fails := _named(found, Verdict.FAILS):
        words.append(f"FAIL: requests to {fails} fail that the other server answers")
    if slower := _named(found, Verdict.SLOWER):
        words.append(f"FAIL: the p99 of {slower} has grown by more than a factor of {LIMIT:.2f}, beyond chance")
    if fails or slower:
        return words, Status.WORSE
    if missing or not found:
        return words, Status.UNMEASURED
    return [*words, f"pass: no p99 has grown by more than a factor of {LIMIT:.2f} beyond chance"], Status.PASSED


def _named(found: Sequence[Comparison], verdict: Verdict) -> str:
    return ", ".join(one.name for one in found if one.verdict is verdict)
