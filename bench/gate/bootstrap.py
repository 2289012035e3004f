"""The interval of a ratio, by bootstrap over repeats: how much of it is chance. Measures nothing and judges nothing.

The centre is the trimmed mean of the logarithms: a fifth of the repeats is left out at each end, so that one repeat into
which something else of the machine fell moves nothing. Its percentile bootstrap keeps its coverage with few repeats and
heavy tails (Wilcox, Introduction to Robust Estimation and Hypothesis Testing, chapter 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "Interval", "interval", "paired"]

LEVEL: Final = 0.95
"""Share of comparisons in which the truth lies within the interval."""

_RESAMPLES: Final = 10_000
_TRIM: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A ratio and what it may be instead.

    Attributes:
        ratio: The centre of all repeats.
        low: The lower end.
        high: The upper end.
        repeats: How many it stands on.
    """

    ratio: float
    low: float
    high: float
    repeats: int

    def __str__(self) -> str:
        return f"{self.ratio:.3f} ({self.low:.3f} .. {self.high:.3f})"


def paired(ones: Sequence[float], others: Sequence[float], *, seed: int) -> Interval:
    """Of ones / others, measured in pairs: what held for both of a pair cancels.

    Args:
        ones: One figure for each repeat; > 0.
        others: Those of the same repeats.
        seed: Of the resampling.
    """
    logs = np.log(np.asarray(ones)) - np.log(np.asarray(others))
    return _interval(logs, _resampled(logs, np.random.default_rng(seed)))


def interval(ones: Sequence[float], others: Sequence[float], *, seed: int) -> Interval:
    """Of ones / others, measured apart from each other: each is resampled by itself, which makes it wider.

    Args:
        ones: One figure for each repeat; > 0.
        others: Likewise, of any number of repeats.
        seed: Of the resampling.
    """
    rng = np.random.default_rng(seed)
    first, second = np.log(np.asarray(ones)), np.log(np.asarray(others))
    found = _resampled(first, rng) - _resampled(second, rng)
    centre = float(_centre(first) - _centre(second))
    low, high = _ends(found)
    return Interval(ratio=_ratio(centre), low=low, high=high, repeats=min(len(first), len(second)))


def _interval(logs: NDArray[np.float64], centres: NDArray[np.float64]) -> Interval:
    low, high = _ends(centres)
    return Interval(ratio=_ratio(float(_centre(logs))), low=low, high=high, repeats=len(logs))


def _resampled(logs: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Centres of as many repeats, drawn from them with replacement."""
    return _centre(logs[rng.integers(0, len(logs), (_RESAMPLES, len(logs)))])


def _centre(logs: NDArray[np.float64]) -> NDArray[Any]:
    """Along the last axis."""
    left_out = int(logs.shape[-1] * _TRIM)
    kept: NDArray[Any] = np.sort(logs, axis=-1)[..., left_out : logs.shape[-1] - left_out].mean(axis=-1)
    return kept


def _ends(centres: NDArray[np.float64]) -> tuple[float, float]:
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(centres, (outside, 1 - outside))
    return _ratio(float(low)), _ratio(float(high))


def _ratio(log: float) -> float:
    return float(np.exp(log))
