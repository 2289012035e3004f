"""Percentile curves from stored histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hdrh.histogram import HdrHistogram

from bench.report.scales import nines

__all__ = ["Step", "curve"]

_NS_PER_MS: Final = 1e6
# Steps of a curve on paper; a histogram of a long run has thousands.
_MOST_STEPS: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A latency, and the percentage of requests that took no longer."""

    percentile: float
    latency_ms: float


def curve(*encoded: str) -> Sequence[Step]:
    """Steps of histograms of nanoseconds, added up and thinned out where steps would lie on one another.

    The slowest of n requests stands at the percentile (n - 1/2) / n, for an axis of nines never reaches 100.

    Args:
        encoded: HdrHistogram's form (V2, compressed, base64); "" where none was stored.

    Returns:
        In order; empty where nothing was recorded.
    """
    histograms = [HdrHistogram.decode(text) for text in encoded if text]
    if not histograms:
        return ()
    histogram = histograms[0]
    for other in histograms[1:]:
        histogram.add(other)
    total = histogram.get_total_count()
    steps: list[Step] = []
    seen = 0
    for one in histogram.get_recorded_iterator():
        seen += one.count_at_value_iterated_to
        percentile = 100 * (seen - 0.5) / total
        steps.append(Step(percentile=percentile, latency_ms=one.value_iterated_to / _NS_PER_MS))
    return _thinned(steps)


def _thinned(steps: Sequence[Step]) -> Sequence[Step]:
    """The first and the last, and between them those that are some distance apart on an axis of nines."""
    if len(steps) <= _MOST_STEPS:
        return steps
    scale = nines(steps[-1].percentile)
    kept = [steps[0]]
    for step in steps[1:-1]:
        if scale.at(step.percentile) - scale.at(kept[-1].percentile) >= 1 / _MOST_STEPS:
            kept.append(step)
    return [*kept, steps[-1]]
