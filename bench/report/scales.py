"""Scales: the position of a value on an axis, and the ticks. Does not draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench.report.formatting import short

__all__ = ["Scale", "Tick", "each", "linear", "log", "nines"]

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_DIGITS: Final = (1, 2, 5)
# Wider than this and 2 and 5 get lines without labels.
_LABELLED_DECADES: Final = 2.1
_MOST_NINES: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line across the plot.

    Attributes:
        value: Position.
        label: Text; "" = no label.
    """

    value: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis from ``low`` to ``high``.

    Attributes:
        low: Value at its beginning.
        high: Value at its end.
        ticks: In order.
        straight: Transformation to a linear scale.
    """

    low: float
    high: float
    ticks: Sequence[Tick]
    straight: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """Position from 0 to 1; values outside the scale are clamped."""
        low, high = self.straight(self.low), self.straight(self.high)
        return min(max((self.straight(min(max(value, self.low), self.high)) - low) / (high - low), 0.0), 1.0)


def linear(values: Iterable[float], *, label: Callable[[float], str] = short, wanted: int = 5) -> Scale:
    """From 0 to a round number above all values, in about as many steps as wanted."""
    highest = max((value for value in values if math.isfinite(value)), default=0.0)
    if highest <= 0:
        highest = 1.0
    power = 10.0 ** math.floor(math.log10(highest / wanted))
    step = next(step * power for step in _STEPS if step * power * wanted >= highest * (1 - 1e-9))
    count = math.ceil(highest / step * (1 - 1e-9))
    ticks = [Tick(value=step * number, label=label(step * number)) for number in range(count + 1)]
    return Scale(low=0.0, high=step * count, ticks=ticks)


def log(values: Iterable[float], *, label: Callable[[float], str] = short) -> Scale:
    """From a round number (1, 2 or 5 of a power of ten) to another, around all values above 0."""
    known = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = _round(min(known), up=False), _round(max(known), up=True)
    if high <= low * (1 + 1e-9):
        low, high = _round(low * 0.9, up=False), _round(high * 1.1, up=True)
    crowded = math.log10(high / low) > _LABELLED_DECADES
    ticks: list[Tick] = []
    for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1):
        for digit in _DIGITS:
            value = digit * 10.0**power
            if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
                ticks.append(Tick(value=value, label="" if crowded and digit > 1 else label(value)))
    return Scale(low=low, high=high, ticks=ticks, straight=math.log10)


def each(values: Iterable[float], *, label: Callable[[float], str] = short) -> Scale:
    """Logarithmic, with a tick at each value: for loads that double, as callers do."""
    known = sorted({value for value in values if value > 0}) or [1.0]
    ends = (known[0], known[-1]) if known[-1] > known[0] * (1 + 1e-9) else (known[0] / 2, known[0] * 2)
    ticks = [Tick(value=value, label=label(value)) for value in known]
    return Scale(low=ends[0], high=ends[1], ticks=ticks, straight=math.log10)


def nines(highest: float) -> Scale:
    """A scale of percentiles from 0 to the highest, on which each further nine takes as much room as the one before.

    Args:
        highest: In percent, below 100.
    """
    top = min(max(_nines(highest), 1.0), float(_MOST_NINES))
    values = [0.0, 50.0, *(100 - 100 * 10.0**-count for count in range(1, math.floor(top + 1e-9) + 1))]
    ticks = [Tick(value=value, label=f"{value:.10g} %") for value in values]
    return Scale(low=0.0, high=100 - 100 * 10.0**-top, ticks=ticks, straight=_nines)


def _nines(percentile: float) -> float:
    """90 -> 1, 99 -> 2, 99.9 -> 3."""
    return -math.log10(max(1 - percentile / 100, 10.0**-_MOST_NINES))


def _round(value: float, *, up: bool) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is not below (or not above) a value."""
    power = math.floor(math.log10(value))
    steps = [digit * 10.0**exponent for exponent in range(power - 1, power + 2) for digit in _DIGITS]
    below, above = next(
        (below, above) for below, above in pairwise(steps) if below * (1 - 1e-9) <= value <= above * (1 + 1e-9)
    )
    if math.isclose(value, below, rel_tol=1e-6) or math.isclose(value, above, rel_tol=1e-6):
        return below if math.isclose(value, below, rel_tol=1e-6) else above
    return above if up else below
