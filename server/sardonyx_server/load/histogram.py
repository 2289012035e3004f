"""Latency histogram of one worker, with the bucket layout of HdrHistogram. Computes no percentiles.

Recording costs one addition per request and a fixed amount of memory, however long a run lasts; ``latencies.py`` merges
these histograms and computes percentiles. Values are whole nanoseconds with 3 significant digits.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np

__all__ = ["HIGHEST_NS", "SIGNIFICANT_DIGITS", "LatencyHistogram"]

SIGNIFICANT_DIGITS: Final = 3
HIGHEST_NS: Final = 3_600_000_000_000
"""An hour. Longer latencies are clamped to it; timeouts keep requests far below."""

# 3 significant digits need 2,048 buckets up to 2,048 ns and 1,024 for each doubling above.
_HALF_BITS: Final = 10
_BUCKETS: Final = (HIGHEST_NS.bit_length() - _HALF_BITS + 1) << _HALF_BITS
# Buckets that coarse() merges into one.
_GROUP: Final = 64


class LatencyHistogram:
    """Number of latencies per bucket. Not thread-safe."""

    __slots__ = ("_buckets", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * _BUCKETS))
        self.max_ns = 0
        self.sum_ns = 0

    def record(self, latency_ns: int) -> None:
        """Record one latency; a negative one counts as 0."""
        latency_ns = min(max(latency_ns, 0), HIGHEST_NS)
        shift = max(latency_ns.bit_length() - _HALF_BITS - 1, 0)
        self._buckets[(shift << _HALF_BITS) + (latency_ns >> shift)] += 1
        self.sum_ns += latency_ns
        self.max_ns = max(self.max_ns, latency_ns)

    def coarse(self) -> dict[int, int]:
        """As ``by_value``, with about two significant digits. Takes tens of microseconds, for the live display."""
        groups = np.frombuffer(self._buckets, np.uint64).reshape(-1, _GROUP).sum(axis=1)
        return {_lowest(int(group) * _GROUP + _GROUP // 2): int(groups[group]) for group in np.flatnonzero(groups)}

    def by_value(self) -> dict[int, int]:
        """Lower bound of a bucket in ns -> number of latencies in it; empty buckets are left out."""
        return {_lowest(index): number for index, number in enumerate(self._buckets) if number}


def _lowest(index: int) -> int:
    if index < 2 << _HALF_BITS:
        return index
    shift = (index >> _HALF_BITS) - 1
    return (index - (shift << _HALF_BITS)) << shift
