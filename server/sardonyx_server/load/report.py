"""The result of a run: rate, latencies, failures, and whether the generator kept its schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sardonyx_server.load.counters import SLIP_TOLERANCE_NS
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import Load, OpenLoop

__all__ = ["MAX_SLIP", "Progress", "Report"]

MAX_SLIP: Final = 0.01
"""Largest valid fraction of requests sent late. Above it the figures say as much about the generator as the server."""

_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a run.

    Attributes:
        elapsed_s: Time since its start.
        duration_s: Its planned duration.
        answered: Requests answered so far.
        failed: Requests failed so far.
        slip: Fraction of the requests sent so far that were sent late.
        latencies: Of the answered requests, with two significant digits.
    """

    elapsed_s: float
    duration_s: float
    answered: int
    failed: int
    slip: float
    latencies: Latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one run.

    Attributes:
        load: The load that was sent.
        window_s: The time over which the rate is computed.
        sent: Requests that were due, sent or not.
        in_time: Answers received within the window.
        statuses: Status -> failed requests: names of gRPC's codes, NOT_SENT, WRONG_ANSWER.
        late: Requests sent more than 1 ms after they were due.
        max_late_s: The longest such delay.
        cpu_s: CPU seconds used by the generator.
        latencies: Of answered requests, each measured from when it was due.
    """

    load: Load
    window_s: float
    sent: int
    in_time: int
    statuses: Mapping[str, int]
    late: int
    max_late_s: float
    cpu_s: float
    latencies: Latencies

    @property
    def answered(self) -> int:
        """Requests that succeeded, within the window or later."""
        return self.latencies.count

    @property
    def failed(self) -> int:
        """Requests that did not succeed."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.in_time / self.window_s if self.window_s > 0 else 0.0

    @property
    def slip(self) -> float:
        """Fraction of requests sent late; 0 in a closed loop, where a request is due when it is sent."""
        return self.late / self.sent if self.sent else 0.0

    @property
    def is_valid(self) -> bool:
        """Whether the generator kept its schedule."""
        return self.slip <= MAX_SLIP

    def meets(self, slo_s: float) -> bool:
        """Whether 99 % of all requests were answered within ``slo_s``. A failed request counts as not answered."""
        missed = self.latencies.count_above(slo_s) + self.failed
        return self.sent > 0 and missed * 100 <= self.sent

    def as_json(self) -> dict[str, Any]:
        """As JSON values. Times are in seconds; the histogram is in HdrHistogram's encoded form, in ns."""
        return {
            "load": {"loop": "open" if isinstance(self.load, OpenLoop) else "closed", **asdict(self.load)},
            "window_s": self.window_s,
            "rate": self.rate,
            "sent": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "statuses": dict(self.statuses),
            "latency_s": {**self.latencies.quantiles_s(), "max": self.latencies.max_s, "mean": self.latencies.mean_s},
            "slip": self.slip,
            "slip_tolerance_s": SLIP_TOLERANCE_NS / _NS_PER_S,
            "max_late_s": self.max_late_s,
            "valid": self.is_valid,
            "generator_cpu_s": self.cpu_s,
            "histogram": self.latencies.encode(),
        }

    @classmethod
    def of(cls, load: Load, parts: Sequence[Mapping[str, Any]], *, start_ns: int, duration_s: float) -> Report:
        """Combine the counters of all workers (``RunCounters.totals`` and ``cpu_s``)."""
        elapsed_s = max(part["last_ns"] - start_ns for part in parts) / _NS_PER_S
        ends_early = not isinstance(load, OpenLoop) and load.requests is not None and elapsed_s < duration_s
        return cls(
            load=load,
            window_s=elapsed_s if ends_early else duration_s,
            sent=sum(part["sent"] for part in parts),
            in_time=sum(part["in_time"] for part in parts),
            statuses=statuses_of(parts),
            late=sum(part["late"] for part in parts),
            max_late_s=max(part["max_late_ns"] for part in parts) / _NS_PER_S,
            cpu_s=sum(part["cpu_s"] for part in parts),
            latencies=latencies_of(parts),
        )

    @classmethod
    def merged(cls, reports: Sequence[Report]) -> Report:
        """Merge several runs of one load. Requires: at least one."""
        return cls(
            load=reports[0].load,
            window_s=sum(report.window_s for report in reports),
            sent=sum(report.sent for report in reports),
            in_time=sum(report.in_time for report in reports),
            statuses=dict(sum((Counter(report.statuses) for report in reports), Counter())),
            late=sum(report.late for report in reports),
            max_late_s=max(report.max_late_s for report in reports),
            cpu_s=sum(report.cpu_s for report in reports),
            latencies=Latencies.merged(report.latencies for report in reports),
        )


def statuses_of(parts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Failures of all workers by status, the most frequent first."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part["statuses"])
    return dict(found.most_common())


def latencies_of(parts: Sequence[Mapping[str, Any]]) -> Latencies:
    """Latencies of all workers, from JSON, whose keys are text."""
    found: Counter[int] = Counter()
    for part in parts:
        found.update({int(value_ns): number for value_ns, number in part["latencies_ns"].items()})
    return Latencies(found, sum_ns=sum(part["sum_ns"] for part in parts), max_ns=max(part["max_ns"] for part in parts))
