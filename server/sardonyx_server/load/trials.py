"""The highest rate whose p99 meets an SLO, by trials on a server. How rates are chosen is search.py's part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.loops import ClosedLoop, Load, OpenLoop
from sardonyx_server.load.report import Report
from sardonyx_server.load.search import highest_rate

__all__ = ["Found", "Run", "Trial", "find_highest"]

Run: TypeAlias = Callable[[Load, float, str], Report]
"""Runs a load for so many seconds; the text says what it is for."""

_PROBE_CALLERS: Final = 32
_PROBE_S: Final = 1.0
_TRIAL_SHARE: Final = 0.2
_MIN_TRIAL_S: Final = 0.5
# With fewer, one slow request decides about the p99.
_MIN_SAMPLES: Final = 300
# Six rates, each half of the one before, and none at which the generator keeps its schedule: it will not below either.
_MAX_DISCARDED: Final = 12
_STEP_DOWN: Final = 0.95
_MAX_STEPS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rate that was tried.

    Attributes:
        rate: Asked for.
        report: What came of it.
        met: Whether the SLO was met in a valid run.
    """

    rate: float
    report: Report
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        rate: The highest rate that met the SLO, for the full duration; 0 = none.
        report: Of that rate; None where there is none.
        trials: All rates tried, in order.
    """

    rate: float
    report: Report | None
    trials: tuple[Trial, ...]

    @property
    def generator_was_late(self) -> bool:
        """Whether the lowest rate that failed above the one found did so only because the generator was late."""
        above = [trial for trial in self.trials if trial.rate > self.rate and not trial.met]
        return bool(above) and not min(above, key=lambda trial: trial.rate).report.is_valid

    def as_json(self) -> dict[str, Any]:
        """For programs."""
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


def find_highest(run: Run, *, slo_s: float, duration_s: float, arrivals: Arrivals, seed: int) -> Found:
    """Find it: a closed loop tells where to begin, short runs narrow it down, a run of full length confirms it.

    Args:
        run: Puts a load on the server.
        slo_s: 99 % of all requests must be answered within this.
        duration_s: Of the run that confirms; trials are shorter.
        arrivals: Of every open loop.
        seed: Of the first; each trial has its own.
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
            return False  # ends the search soon, without a further run
        length_s = max(_MIN_TRIAL_S, duration_s * _TRIAL_SHARE, min(duration_s, _MIN_SAMPLES / rate))
        return attempt(rate, length_s, "trying").met

    probe = run(ClosedLoop(concurrency=_PROBE_CALLERS), _PROBE_S, "how many answers at most")
    rate = highest_rate(meets, first=max(1.0, probe.rate / 2))
    for _ in range(_MAX_STEPS if rate else 0):
        confirmed = attempt(rate, duration_s, "confirming")
        if confirmed.met:
            return Found(rate=rate, report=confirmed.report, trials=tuple(trials))
        rate *= _STEP_DOWN
    return Found(rate=0.0, report=None, trials=tuple(trials))
