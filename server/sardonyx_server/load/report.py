"""What came of a run: rate, latencies, failures, and whether the generator kept its schedule. Runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import Load, OpenLoop
from sardonyx_server.load.tally import SLIP_TOLERANCE_NS

__all__ = ["MAX_SLIP", "Progress", "Report"]

MAX_SLIP: Final = 0.01
"""Share of requests that may be sent late. Beyond it the figures are the generator's as much as the server's."""

_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        elapsed_s: Since its start.
        duration_s: How long it is to last.
        answered: Requests so far.
        failed: Requests so far.
        slip: Share of those sent so far that were sent late.
        latencies: Of the answered, to two digits.
    """

    elapsed_s: float
    duration_s: float
    answered: int
    failed: int
    slip: float
    latencies: Latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run.

    Attributes:
        load: What was asked for.
        window_s: The time that the rate is reckoned over.
        sent: Requests that were due, sent or not.
        in_time: Answers within the window.
        statuses: Status -> requests that ended with it: names of gRPC's codes, NOT_SENT, WRONG_ANSWER. No successes.
        late: Requests sent more than 1 ms after they were due.
        max_late_s: The latest.
        cpu_s: CPU seconds of the generator.
        latencies: Of answered requests, each from when it was due to be sent.
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
        """Requests that succeeded, whenever that was."""
        return self.latencies.count

    @property
    def failed(self) -> int:
        """Requests that did not succeed."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.in_time / self.window_s if self.window_s > 0 else 0.0

    @property
    def slip(self) -> float:
        """Share of requests that were sent late; 0 in a closed loop, where none is due before it is sent."""
        return self.late / self.sent if self.sent else 0.0

    @property
    def is_valid(self) -> bool:
        """Whether the generator kept its schedule."""
        return self.slip <= MAX_SLIP

    def meets(self, slo_s: float) -> bool:
        """Whether 99 % of all requests were answered within ``slo_s``. One that failed was not, however fast."""
        missed = self.latencies.count_above(slo_s) + self.failed
        return self.sent > 0 and missed * 100 <= self.sent

    def as_json(self) -> dict[str, Any]:
        """For programs. Times in seconds; the histogram is HdrHistogram's encoded form, in ns."""
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
        """Put together what the processes of a fleet counted (``Tally.whole``, and their ``cpu_s``)."""
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
        """Several runs of one load as one. Requires: at least one."""
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
    """Failures of all processes by status, the most frequent first."""
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part["statuses"])
    return dict(found.most_common())


def latencies_of(parts: Sequence[Mapping[str, Any]]) -> Latencies:
    """Latencies of all processes, as they were read from JSON: with keys that are text."""
    found: Counter[int] = Counter()
    for part in parts:
        found.update({int(value_ns): number for value_ns, number in part["latencies_ns"].items()})
    return Latencies(found, sum_ns=sum(part["sum_ns"] for part in parts), max_ns=max(part["max_ns"] for part in parts))
