"""Percentile curves from stored HDR histograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
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
    """Steps of merged histograms of nanoseconds, thinned out where steps would overlap.

    The slowest of n requests stands at the percentile (n - 1/2) / n, for an axis of nines never reaches 100.

    Args:
        encoded: HdrHistogram's encoding (V2, compressed, base64); "" = none was stored.

    Returns:
        In order; empty if nothing was recorded.
    """
    histograms = [HdrHistogram.decode(text) for text in encoded if text]
    if not histograms:
        return ()
    histogram = histograms[0]
    for other in histograms[1:]:
        histogram.add(other)
    # hdrhistogram's own iterators walk over every empty bucket in Python, which takes fifty times as long.
    counts = np.ctypeslib.as_array(histogram.counts).astype(np.int64)
    buckets = np.flatnonzero(counts)
    if not buckets.size:
        return ()
    seen = np.cumsum(counts[buckets])
    percentiles = 100 * (seen - 0.5) / seen[-1]
    return [
        Step(
            percentile=float(percentiles[place]),
            latency_ms=histogram.get_highest_equivalent_value(histogram.get_value_from_index(int(buckets[place])))
            / _NS_PER_MS,
        )
        for place in _apart(percentiles.tolist())
    ]


def _apart(percentiles: Sequence[float]) -> Iterator[int]:
    """Indices of the first and last step, and of steps between that are far enough apart on an axis of nines."""
    scale, last = nines(percentiles[-1]), -1.0
    for place, percentile in enumerate(percentiles):
        at = scale.at(percentile)
        if at - last >= 1 / _MOST_STEPS or place == len(percentiles) - 1:
            yield place
            last = at
