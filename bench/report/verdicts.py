"""Verdicts of all benchmarks that have a bar, losing cases first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bench.report.formatting import percent, significant
from bench.report.points import OURS
from bench.store import Benchmark, Point, Run

__all__ = ["State", "Verdict", "verdicts"]

_FLOOR_AT: Final = 0.7
_NEAR: Final = 1e-6
_NO_PEERS: Final = frozenset({OURS, "sardonyx-grpcio", "echo", "cpp-echo"})
# What the ratio of a scenario is, where its question asks for more than that.
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ladder": f"p99 at {percent(_FLOOR_AT)} of capacity / its simulated floor",
        "closed": "rate of the most callers / what the cores allow",
        "overload": "goodput at the heaviest overload / the highest goodput",
        "reload": "p99 during reloads / without them",
        "limits": "rate / rate of a bare echo",
        "large": "rate of large tensors / what the cores allow",
    }
)


class State(StrEnum):
    """State of a bar, the worst first."""

    MISSED = "missed"
    UNPROVEN = "not proven"
    INVALID = "invalid"
    UNMEASURED = "not measured"
    MET = "met"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of the summary.

    Attributes:
        what: Description of the ratio.
        reached: Measured ratio; None if it could not be measured.
        low: Lower end of the interval; None = no interval.
        high: Likewise.
        bar: Target; None if there is no verdict because points are invalid.
        at_least: True = a lower bound, False = an upper bound.
        valid: Whether all points that it is based on are valid.
        benchmark: Its benchmark, whose server is the peer or Sardonyx.
    """

    what: str
    reached: float | None
    low: float | None = None
    high: float | None = None
    bar: float | None
    at_least: bool = True
    valid: bool = True
    benchmark: Benchmark

    @property
    def state(self) -> State:
        """The bar is met only if the whole interval meets it."""
        if not self.valid:
            return State.INVALID
        if self.reached is None:
            return State.UNMEASURED
        if not self._meets(self.reached):
            return State.MISSED
        worst = self.low if self.at_least else self.high
        return State.MET if worst is None or self._meets(worst) else State.UNPROVEN

    @property
    def distance(self) -> float:
        """By what factor the bar is exceeded; below 1 if it is missed."""
        if self.reached is None or self.bar is None:
            return 0.0
        if self.reached <= 0:
            return 0.0 if self.at_least else math.inf
        if self.bar <= 0:
            return math.inf if self.at_least else 0.0
        return self.reached / self.bar if self.at_least else self.bar / self.reached

    @property
    def wording(self) -> str:
        """The bar as text."""
        if self.bar is None:
            return "not judged"
        return f"{'at least' if self.at_least else 'at most'} {self.bar:g}"

    @property
    def reading(self) -> str:
        """The ratio as text: 1.23 (1.18 .. 1.29)."""
        if self.reached is None:
            return "not measured"
        if self.low is None or self.high is None:
            return significant(self.reached)
        return f"{significant(self.reached)} ({significant(self.low)} .. {significant(self.high)})"

    def _meets(self, value: float) -> bool:
        bar = self.bar or 0.0
        return value >= bar if self.at_least else value <= bar


def verdicts(run: Run) -> Sequence[Verdict]:
    """All verdicts of a run: missed ones first, and among them the farthest from its bar."""
    order = list(State)
    found = [verdict for one in run.benchmarks for verdict in _of(one)]
    return sorted(found, key=lambda verdict: (order.index(verdict.state), verdict.distance))


def _of(benchmark: Benchmark) -> Iterator[Verdict]:
    figures = benchmark.figures
    if "ratio" in figures:
        yield Verdict(
            what=_WORDS.get(benchmark.scenario if benchmark.server == OURS else "") or _question(benchmark),
            reached=figures["ratio"],
            low=figures.get("ratio_low"),
            high=figures.get("ratio_high"),
            bar=figures.get("bar", 1.0),
            at_least=not _less_is_better(benchmark),
            valid=all(point.valid for point in _judged(benchmark)),
            benchmark=benchmark,
        )
    elif figures and not all(point.valid for point in _judged(benchmark)):
        what = _WORDS.get(benchmark.scenario) or _question(benchmark)
        yield Verdict(what=what, reached=None, bar=None, valid=False, benchmark=benchmark)
    elif _is_peer(benchmark):
        reason = "; ".join(benchmark.remarks[-1:])
        what = f"{_question(benchmark)}: {reason}" if reason else _question(benchmark)
        yield Verdict(what=what, reached=None, bar=figures.get("bar", 1.0), benchmark=benchmark)
    if "lost" in figures and benchmark.scenario == "reload":
        yield Verdict(
            what="requests lost in a reload", reached=figures["lost"], bar=0.0, at_least=False, benchmark=benchmark
        )


def _judged(benchmark: Benchmark) -> Sequence[Point]:
    """The points that a ratio is based on: in a ladder the one at the judged load, otherwise all."""
    if benchmark.scenario == "ladder" and benchmark.server == OURS:
        return [point for point in benchmark.points if _is(point.load.share_of_capacity, _FLOOR_AT)]
    return benchmark.points


def _is_peer(benchmark: Benchmark) -> bool:
    """Whether a comparison with another server is missing."""
    return benchmark.scenario in {"closed", "ladder"} and benchmark.server not in _NO_PEERS


def _question(benchmark: Benchmark) -> str:
    return benchmark.question or benchmark.name


def _less_is_better(benchmark: Benchmark) -> bool:
    """Whether a higher ratio is better, by the name of the benchmark: of rates it is, of latencies not."""
    return "p99" in benchmark.name or "latency" in benchmark.name


def _is(value: float | None, wanted: float) -> bool:
    return value is not None and abs(value - wanted) < _NEAR
