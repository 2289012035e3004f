"""The latency distribution: an HDR histogram with its percentiles and its encoded form."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from hdrh.histogram import HdrHistogram

from sardonyx_server.load.histogram import HIGHEST_NS, SIGNIFICANT_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["QUANTILES", "Latencies"]

QUANTILES: Final[Mapping[str, float]] = MappingProxyType({"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9})
"""The percentiles of every report, by name."""

_NS_PER_S: Final = 1e9


class Latencies:
    """Latencies of answered requests, to 3 significant digits.

    Args:
        counts: Latency in ns -> number of requests.
        sum_ns: Exact sum of all latencies.
        max_ns: Exact maximum.
    """

    __slots__ = ("_histogram", "_max_ns", "_sum_ns")

    def __init__(self, counts: Mapping[int, int], *, sum_ns: int, max_ns: int) -> None:
        self._histogram = HdrHistogram(1, HIGHEST_NS, SIGNIFICANT_DIGITS)
        for value_ns, number in counts.items():
            self._histogram.record_value(value_ns, number)
        self._sum_ns = sum_ns
        self._max_ns = max_ns

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The latencies of several runs together."""
        whole = cls({}, sum_ns=0, max_ns=0)
        for part in parts:
            whole._histogram.add(part._histogram)  # noqa: SLF001  # its own class
            whole._sum_ns += part._sum_ns  # noqa: SLF001  # likewise
            whole._max_ns = max(whole._max_ns, part._max_ns)  # noqa: SLF001  # likewise
        return whole

    @classmethod
    def decoded(cls, text: str) -> Self:
        """The inverse of :meth:`encode`; mean and maximum then have only 3 significant digits."""
        steps = HdrHistogram.decode(text).get_recorded_iterator()
        counts = {step.value_iterated_to: step.count_at_value_iterated_to for step in steps}
        return cls(
            counts,
            sum_ns=sum(value_ns * number for value_ns, number in counts.items()),
            max_ns=max(counts, default=0),
        )

    def by_value_ns(self) -> dict[int, int]:
        """Upper bound of a bucket in ns -> number of latencies in it, ascending; empty buckets are left out."""
        steps = self._histogram.get_recorded_iterator()
        return {step.value_iterated_to: step.count_at_value_iterated_to for step in steps}

    @property
    def count(self) -> int:
        """Number of latencies."""
        return int(self._histogram.get_total_count())

    @property
    def mean_s(self) -> float:
        """Exact mean; 0 if there are none."""
        return self._sum_ns / self.count / _NS_PER_S if self.count else 0.0

    @property
    def max_s(self) -> float:
        """Exact maximum; 0 if there are none."""
        return self._max_ns / _NS_PER_S

    def percentile_s(self, percentile: float) -> float:
        """The latency that this percentage of requests does not exceed; 0 if there are none."""
        return min(float(self._histogram.get_value_at_percentile(percentile)) / _NS_PER_S, self.max_s)

    def quantiles_s(self) -> dict[str, float]:
        """The percentiles in ``QUANTILES``, by name."""
        found = self._histogram.get_percentile_to_value_dict(list(QUANTILES.values()))
        return {name: min(found.get(at, 0) / _NS_PER_S, self.max_s) for name, at in QUANTILES.items()}

    def count_above(self, limit_s: float) -> int:
        """Number of latencies above a limit; those in the limit's own bucket do not count."""
        limit_ns = self._histogram.get_highest_equivalent_value(round(limit_s * _NS_PER_S))
        steps = self._histogram.get_recorded_iterator()
        return sum(step.count_at_value_iterated_to for step in steps if step.value_iterated_to > limit_ns)

    def encode(self) -> str:
        """The encoded form of HdrHistogram (V2, compressed, base64), in ns, which its tools in all languages read."""
        return str(self._histogram.encode().decode("ascii"))
