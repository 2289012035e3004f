"""How much of a figure is chance: the interval of a centre, by bootstrap over repeats. Measures and judges nothing.

The centre is the trimmed mean: a fifth of the repeats is left out at each end, so that one repeat into which something
else of the machine fell moves nothing. Of all centres its percentile bootstrap keeps its promise best where repeats are
few and now and then one is wild (Wilcox, Introduction to Robust Estimation and Hypothesis Testing, chapter 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEVEL", "Interval", "difference", "ratio"]

LEVEL: Final = 0.95
"""Share of comparisons in which the truth lies within the interval."""

_RESAMPLES: Final = 10_000
_TRIM: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and what else it may be.

    Attributes:
        centre: Of all repeats.
        low: The lower end.
        high: The upper end.
    """

    centre: float
    low: float
    high: float


def ratio(ones: Sequence[float], others: Sequence[float], *, seed: int) -> Interval:
    """Of ones / others, measured in pairs: what held for both of a pair cancels.

    Args:
        ones: One figure for each repeat; > 0.
        others: Those of the same repeats.
        seed: Of the resampling.
    """
    logs = difference(np.log(ones).tolist(), np.log(others).tolist(), seed=seed)
    return Interval(centre=math.exp(logs.centre), low=math.exp(logs.low), high=math.exp(logs.high))


def difference(ones: Sequence[float], others: Sequence[float], *, seed: int) -> Interval:
    """Of ones - others, likewise; the figures may be 0."""
    found = np.subtract(ones, others)
    drawn = np.random.default_rng(seed).integers(0, len(found), (_RESAMPLES, len(found)))
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(_centres(found[drawn]), (outside, 1 - outside))
    return Interval(centre=float(_centres(found)), low=float(low), high=float(high))


def _centres(values: NDArray[Any]) -> NDArray[Any]:
    """Trimmed means along the last axis."""
    left_out = int(values.shape[-1] * _TRIM)
    kept = np.sort(values, axis=-1)[..., left_out : values.shape[-1] - left_out]
    return np.asarray(kept.mean(axis=-1))
