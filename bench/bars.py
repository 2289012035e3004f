"""Bars: a target for a measured ratio or value, the outcome, and whether the outcome meets it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from bench.bootstrap import LEAST_REPEATS, difference, ratio

__all__ = ["BY_CONSTRUCTION", "Bar", "Outcome"]

BY_CONSTRUCTION: Final = "by construction"
"""How a remark begins if a bar is met without a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A target: one line of the table.

    Attributes:
        name: What is measured.
        target: The value to reach.
        at_least: True = a lower bound, False = an upper bound.
        unit: "" for a ratio.
        slack: Share of the target allowed for noise; only for targets that mean "no worse than".
    """

    name: str
    target: float
    at_least: bool = True
    unit: str = ""
    slack: float = 0.0

    def met_by(self, value: float) -> bool:
        """Whether a value meets the target."""
        if self.at_least:
            return value >= self.target * (1 - self.slack)
        return value <= self.target * (1 + self.slack)

    @property
    def wording(self) -> str:
        """The target as text."""
        limit = f"{'>=' if self.at_least else '<='} {self.target:g}{self._unit}"
        return f"{limit} -{self.slack:.0%}" if self.slack else limit

    def show(self, value: float) -> str:
        """A value as text."""
        return f"{value:.2f}{self._unit}" if self.target < 100 else f"{value:.0f}{self._unit}"  # noqa: PLR2004  # digits

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The measured outcome of a bar.

    Attributes:
        bar: The bar.
        values: One value for each turn; empty if nothing could be measured.
        remark: The figures behind the ratio as text, or why there are none.
        details: The same, machine-readable.
    """

    bar: Bar
    values: Sequence[float]
    remark: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``pass``, ``not proven``, ``miss`` or ``none``.

        ``pass`` if the whole confidence interval meets the target, ``miss`` if the median does not.
        """
        if not self.values:
            return "none"
        if not self.bar.met_by(median(self.values)):
            return "miss"
        return "pass" if all(map(self.bar.met_by, self.interval or ())) else "not proven"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval over the turns; None if there are fewer than two."""
        if len(self.values) < LEAST_REPEATS:
            return None
        count = len(self.values)
        if min(self.values) > 0:
            found = ratio(self.values, [1.0] * count, seed=0)
        else:
            found = difference(self.values, [0.0] * count, seed=0)
        return found.low, found.high

    @property
    def reached(self) -> str:
        """Median and interval as text."""
        if not self.values:
            return "not measured"
        show, ends = self.bar.show, self.interval
        middle = show(median(self.values))
        return middle if ends is None else f"{middle}  ({show(ends[0])} .. {show(ends[1])})"

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        low, high = self.interval or (None, None)
        return {
            "bar": self.bar.name,
            "target": self.bar.target,
            "at_least": self.bar.at_least,
            "unit": self.bar.unit,
            "slack": self.bar.slack,
            "verdict": self.verdict,
            "median": median(self.values) if self.values else None,
            "min": min(self.values, default=None),
            "max": max(self.values, default=None),
            "low": low,
            "high": high,
            "values": list(self.values),
            "remark": self.remark,
            "details": dict(self.details),
        }
