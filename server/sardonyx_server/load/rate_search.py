"""Searches for the highest rate that meets a condition with few trials, by doubling and bisection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["highest_rate"]

_MAX_DOUBLINGS: Final = 24
_MIN_RATE: Final = 0.5
_PRECISION: Final = 0.05


def highest_rate(meets: Callable[[float], bool], *, first: float) -> float:
    """Double the rate until it fails, then bisect until the bracket is at most 5 % wide.

    A rate counts as failed only if it fails twice in a row, so that a single hiccup of the machine does not end the
    search. It counts as met as soon as one trial meets it.

    Args:
        meets: Runs a trial at a rate; whether the condition was met.
        first: Rate to start from, in requests per second; > 0.

    Returns:
        The highest rate that was met; 0 if even one request in two seconds fails.
    """

    def holds(rate: float) -> bool:
        return meets(rate) or meets(rate)

    low, high = 0.0, math.inf
    rate = first
    for _ in range(_MAX_DOUBLINGS):
        if holds(rate):
            low = rate
            rate *= 2
        else:
            high = rate
            rate /= 2
        if (low and high < math.inf) or rate < _MIN_RATE:
            break
    if not low:
        return 0.0
    while high / low > 1 + _PRECISION and high < math.inf:
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
