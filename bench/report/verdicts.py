"""What is compared with a bar, and whether it is enough. Losing cases come first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.report.figures.overload import LEAST_SHARE_OF_PEAK
from bench.report.figures.phases import MOST_DURING_RELOAD
from bench.report.points import OURS
from bench.report.wording import percent, significant
from bench.store import Benchmark, Point, Run

__all__ = ["State", "Verdict", "verdicts"]

LEAST_OF_ALLOWANCE: Final = 0.85
MOST_OF_FLOOR: Final = 1.25
_FLOOR_AT: Final = 0.7
_OVERLOAD: Final = 5.0
_NEAR: Final = 1e-6


class State(StrEnum):
    """What became of a bar, the worst first."""

    MISSED = "missed"
    UNPROVEN = "not proven"
    INVALID = "invalid"
    MET = "met"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of the summary.

    Attributes:
        what: Is compared with what.
        model: Under test; "" = none.
        server: That is compared with, or ours.
        reached: A ratio.
        low: End of its interval; None = it has none.
        high: Likewise.
        bar: To be reached.
        at_least: True = reached or more, False = reached or less.
        valid: Whether all it stands on counts.
        benchmark: Name of the benchmark.
    """

    what: str
    model: str
    server: str
    reached: float
    low: float | None = None
    high: float | None = None
    bar: float
    at_least: bool = True
    valid: bool = True
    benchmark: str

    @property
    def state(self) -> State:
        """An interval must lie on the right side of the bar as a whole: the doubt is ours to bear."""
        if not self.valid:
            return State.INVALID
        if not self._meets(self.reached):
            return State.MISSED
        worst = self.low if self.at_least else self.high
        return State.MET if worst is None or self._meets(worst) else State.UNPROVEN

    @property
    def distance(self) -> float:
        """How far the bar is exceeded, as a factor; below 1 where it is missed."""
        if self.reached <= 0:
            return 0.0 if self.at_least else float("inf")
        return self.reached / self.bar if self.at_least else self.bar / self.reached

    @property
    def wording(self) -> str:
        """The bar, for people."""
        return f"{'at least' if self.at_least else 'at most'} {self.bar:g}"

    @property
    def reading(self) -> str:
        """What was reached, for people: 1.23 (1.18 .. 1.29)."""
        if self.low is None or self.high is None:
            return significant(self.reached)
        return f"{significant(self.reached)} ({significant(self.low)} .. {significant(self.high)})"

    def _meets(self, value: float) -> bool:
        return value >= self.bar if self.at_least else value <= self.bar


def verdicts(run: Run) -> Sequence[Verdict]:
    """Every bar of a run: missed ones first, and of those the farthest from its bar."""
    order = list(State)
    found = [verdict for one in run.benchmarks for verdict in _of(one)]
    return sorted(found, key=lambda verdict: (order.index(verdict.state), verdict.distance))


def _of(benchmark: Benchmark) -> Iterator[Verdict]:
    """What the benchmark says itself; else what follows from its points."""
    figures = benchmark.figures
    if "ratio" in figures:
        yield Verdict(
            what=_question(benchmark),
            model=benchmark.model,
            server=benchmark.server,
            reached=figures["ratio"],
            low=figures.get("ratio_low"),
            high=figures.get("ratio_high"),
            bar=figures.get("bar", 1.0),
            at_least=not _less_is_better(benchmark),
            valid=all(point.valid for point in benchmark.points),
            benchmark=benchmark.name,
        )
    elif benchmark.server == OURS:
        yield from _derived(benchmark)


def _derived(benchmark: Benchmark) -> Iterator[Verdict]:
    if benchmark.scenario == "ladder":
        for point in benchmark.points:
            if point.floor_p99_ms and _is(point.load.share_of_capacity, _FLOOR_AT):
                ratio = point.p99_ms / point.floor_p99_ms
                what = f"p99 at {percent(_FLOOR_AT)} of capacity / its simulated floor"
                yield _verdict(benchmark, [point], what, ratio, MOST_OF_FLOOR, at_least=False)
    elif benchmark.scenario == "closed":
        allowed = [point for point in benchmark.points if point.allowance_per_s]
        if allowed:
            best = max(allowed, key=lambda point: (point.valid, point.rate_reached_per_s))
            ratio = best.rate_reached_per_s / (best.allowance_per_s or 1.0)
            yield _verdict(benchmark, [best], "best rate / what the cores allow", ratio, LEAST_OF_ALLOWANCE)
    elif benchmark.scenario == "overload" and benchmark.figures.get("peak_goodput_per_s"):
        for point in benchmark.points:
            if point.goodput_per_s is not None and _is(point.load.share_of_capacity, _OVERLOAD):
                ratio = point.goodput_per_s / benchmark.figures["peak_goodput_per_s"]
                what = f"goodput at {_OVERLOAD:g} times capacity / its peak"
                yield _verdict(benchmark, [point], what, ratio, LEAST_SHARE_OF_PEAK)
    elif benchmark.scenario == "reload":
        yield from _reload(benchmark)


def _reload(benchmark: Benchmark) -> Iterator[Verdict]:
    points = {point.label: point for point in benchmark.points}
    if {"before", "during"} <= points.keys() and points["before"].p99_ms:
        both = [points["before"], points["during"]]
        ratio = points["during"].p99_ms / points["before"].p99_ms
        yield _verdict(benchmark, both, "p99 during a reload / before", ratio, MOST_DURING_RELOAD, at_least=False)
    if "lost" in benchmark.figures:
        lost = benchmark.figures["lost"]
        yield _verdict(benchmark, [], "requests lost in a reload", lost, 0.0, at_least=False)


def _verdict(
    benchmark: Benchmark, points: Sequence[Point], what: str, reached: float, bar: float, *, at_least: bool = True
) -> Verdict:
    return Verdict(
        what=what,
        model=benchmark.model,
        server=benchmark.server,
        reached=reached,
        bar=bar,
        at_least=at_least,
        valid=all(point.valid for point in points),
        benchmark=benchmark.name,
    )


def _question(benchmark: Benchmark) -> str:
    return benchmark.question or benchmark.name


def _less_is_better(benchmark: Benchmark) -> bool:
    """Ratios are of rates or of latencies, and only the names tell which."""
    said = benchmark.figures.get("less_is_better")
    return "p99" in benchmark.name or "latency" in benchmark.name if said is None else bool(said)


def _is(value: float | None, wanted: float) -> bool:
    return value is not None and abs(value - wanted) < _NEAR
