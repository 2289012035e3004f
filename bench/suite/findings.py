"""The findings of a benchmark of the suite, its bar figures, and how they are stored by pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from bench.bootstrap import LEAST_REPEATS, ratio
from bench.store import Benchmark, Point

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

__all__ = ["Findings", "Recorder", "bar", "paired_bar", "store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Result of a benchmark; the fields are those of :class:`~bench.store.Benchmark`."""

    points: Sequence[Point] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()


Recorder: TypeAlias = Callable[[str, Callable[[], Findings]], None]
"""Measures and stores a benchmark, given its scenario and a function that measures it."""


def bar(ratio: float, target: float, *, at_least: bool, points: Sequence[Point] = ()) -> dict[str, float]:
    """Figures of a benchmark with a bar: the ratio, the bar, and whether it is met (1.0 or 0.0).

    Args:
        ratio: Measured ratio.
        target: The bar.
        at_least: True = a lower bound, False = an upper bound.
        points: Points that the ratio is based on; if one is invalid, there is no verdict.
    """
    if not all(point.valid for point in points):
        return {}
    return {"ratio": ratio, "bar": target, "met": float(ratio >= target if at_least else ratio <= target)}


def paired_bar(ones: Sequence[float], others: Sequence[float], target: float, *, at_least: bool) -> dict[str, float]:
    """Figures of a benchmark whose ratio was measured in turns: the bar is met if the whole interval meets it.

    Args:
        ones: One figure for each turn; > 0.
        others: Denominators, of the same turns.
        target: The bar.
        at_least: True = a lower bound, False = an upper bound.
    """
    if len(ones) < LEAST_REPEATS:
        return bar(ones[0] / others[0], target, at_least=at_least) if ones else {}
    found = ratio(ones, others, seed=0)
    worst = found.low if at_least else found.high
    met = bar(worst, target, at_least=at_least)["met"]
    return {"ratio": found.centre, "ratio_low": found.low, "ratio_high": found.high, "bar": target, "met": met}


def store(benchmark: BenchmarkFixture, run: Callable[[], Findings], empty: Benchmark) -> None:
    """Measure once, and store the findings beside pytest-benchmark's own figures.

    Args:
        benchmark: The fixture.
        run: Measures; blocks.
        empty: The benchmark without its findings.
    """
    found: Findings = benchmark.pedantic(run, rounds=1, iterations=1)  # type: ignore[no-untyped-call]  # it is not typed
    whole = {**asdict(empty), **asdict(found)}
    del whole["name"]
    benchmark.extra_info.update(whole)
