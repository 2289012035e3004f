"""Finds the highest rate whose p99 meets an SLO, by trial runs on a server; rate_search.py chooses the rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.loops import ClosedLoop, Load, OpenLoop
from sardonyx_server.load.rate_search import highest_rate
from sardonyx_server.load.report import Report

__all__ = ["Run", "SearchResult", "Trial", "find_max_rate"]

Run: TypeAlias = Callable[[Load, float, str], Report]
"""(load, duration in seconds, label for the display) -> report."""

_ESTIMATE_CALLERS: Final = 32
_ESTIMATE_S: Final = 1.0
_TRIAL_SHARE: Final = 0.2
_MIN_TRIAL_S: Final = 0.5
# With fewer requests a single slow one decides the p99.
_MIN_SAMPLES: Final = 300
# Six rates, each half the previous one, without a valid run: the generator will not keep its schedule below either.
_MAX_DISCARDED: Final = 12
_STEP_DOWN: Final = 0.95
_MAX_STEPS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial run.

    Attributes:
        rate: Requested rate, requests per second.
        report: Its result.
        met: Whether the run was valid and met the SLO.
    """

    rate: float
    report: Report
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The result of a search.

    Attributes:
        rate: The highest rate that met the SLO for the full duration; 0 = none.
        report: The report at that rate; None if there is none.
        trials: All trials, in order.
    """

    rate: float
    report: Report | None
    trials: tuple[Trial, ...]

    @property
    def generator_was_late(self) -> bool:
        """Whether the lowest failed rate above the result failed only because the generator was late."""
        above = [trial for trial in self.trials if trial.rate > self.rate and not trial.met]
        return bool(above) and not min(above, key=lambda trial: trial.rate).report.is_valid

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rate": self.rate,
            "report": None if self.report is None else self.report.as_json(),
            "generator_was_late": self.generator_was_late,
            "trials": [
                {
                    "rate": trial.rate,
                    "met": trial.met,
                    "valid": trial.report.is_valid,
                    "p99_s": trial.report.latencies.percentile_s(99),
                    "failed": trial.report.failed,
                }
                for trial in self.trials
            ],
        }


def find_max_rate(run: Run, *, slo_s: float, duration_s: float, arrivals: Arrivals, seed: int) -> SearchResult:
    """Estimate a start rate with a closed loop, narrow it down with short runs, confirm it with a full-length run.

    Args:
        run: Runs a load on the server.
        slo_s: 99 % of all requests must be answered within this time.
        duration_s: Of the confirming run; trials are shorter.
        arrivals: Their distribution.
        seed: Of the first trial; each trial has its own.
    """
    trials: list[Trial] = []

    def attempt(rate: float, length_s: float, name: str) -> Trial:
        load = OpenLoop(rate=rate, arrivals=arrivals, seed=seed + len(trials))
        report = run(load, length_s, f"{name} {rate:,.6g}/s")
        trials.append(Trial(rate=rate, report=report, met=report.is_valid and report.meets(slo_s)))
        return trials[-1]

    def meets(rate: float) -> bool:
        last = trials[-_MAX_DISCARDED:]
        if len(last) == _MAX_DISCARDED and not any(trial.report.is_valid for trial in last):
            return False  # ends the search without another run
        length_s = max(_MIN_TRIAL_S, duration_s * _TRIAL_SHARE, min(duration_s, _MIN_SAMPLES / rate))
        return attempt(rate, length_s, "trying").met

    probe = run(ClosedLoop(concurrency=_ESTIMATE_CALLERS), _ESTIMATE_S, "estimating the capacity")
    rate = highest_rate(meets, first=max(1.0, probe.rate / 2))
    for _ in range(_MAX_STEPS if rate else 0):
        confirmed = attempt(rate, duration_s, "confirming")
        if confirmed.met:
            return SearchResult(rate=rate, report=confirmed.report, trials=tuple(trials))
        rate *= _STEP_DOWN
    return SearchResult(rate=0.0, report=None, trials=tuple(trials))
