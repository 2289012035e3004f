"""Latencies as counts in buckets of HdrHistogram's own layout: what a sending process keeps. Computes no percentiles.

One addition for each request and a fixed amount of memory, however long a run lasts; ``latencies.py`` makes the
histogram of it. Values are whole nanoseconds, told apart to 3 significant digits.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np

__all__ = ["HIGHEST_NS", "SIGNIFICANT_DIGITS", "Counts"]

SIGNIFICANT_DIGITS: Final = 3
HIGHEST_NS: Final = 3_600_000_000_000
"""An hour. A longer latency counts as one; nothing waits that long, for requests have timeouts."""

# 3 digits take 2,048 buckets up to 2,048 ns and 1,024 for each doubling above it.
_HALF_BITS: Final = 10
_BUCKETS: Final = (HIGHEST_NS.bit_length() - _HALF_BITS + 1) << _HALF_BITS
# Of the buckets of a doubling, taken together for a display.
_GROUP: Final = 64


class Counts:
    """Counts of latencies. Not thread-safe."""

    __slots__ = ("_buckets", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * _BUCKETS))
        self.max_ns = 0
        self.sum_ns = 0

    def record(self, latency_ns: int) -> None:
        """Count one latency; less than nothing counts as nothing."""
        latency_ns = min(max(latency_ns, 0), HIGHEST_NS)
        shift = max(latency_ns.bit_length() - _HALF_BITS - 1, 0)
        self._buckets[(shift << _HALF_BITS) + (latency_ns >> shift)] += 1
        self.sum_ns += latency_ns
        self.max_ns = max(self.max_ns, latency_ns)

    def coarse(self) -> dict[int, int]:
        """The same to two digits, in tens of microseconds: for a display while the run goes on."""
        groups = np.frombuffer(self._buckets, np.uint64).reshape(-1, _GROUP).sum(axis=1)
        return {_lowest(int(group) * _GROUP + _GROUP // 2): int(groups[group]) for group in np.flatnonzero(groups)}

    def by_value(self) -> dict[int, int]:
        """Least latency of a bucket in ns -> how many are in it; buckets that hold none are left out."""
        return {_lowest(index): number for index, number in enumerate(self._buckets) if number}


def _lowest(index: int) -> int:
    if index < 2 << _HALF_BITS:
        return index
    shift = (index >> _HALF_BITS) - 1
    return (index - (shift << _HALF_BITS)) << shift
