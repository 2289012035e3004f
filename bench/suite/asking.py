"""What a benchmark of the suite found, and how it comes into pytest-benchmark's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from bench.bootstrap import LEAST_REPEATS, ratio
from bench.store import Benchmark, Point

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

__all__ = ["Ask", "Found", "bar", "judged", "store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer to a question: see :class:`~bench.store.Benchmark` for what each is."""

    points: Sequence[Point] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    remarks: Sequence[str] = ()


Ask: TypeAlias = Callable[[str, Callable[[], Found]], None]
"""Measures and stores: a scenario, and what measures it."""


def bar(ratio: float, target: float, *, at_least: bool, points: Sequence[Point] = ()) -> dict[str, float]:
    """Figures of a benchmark that has a bar: the ratio reached, the bar, and whether it is met (1.0 or 0.0).

    Args:
        ratio: Reached.
        target: The bar.
        at_least: True = reach it, False = stay at or under it.
        points: That the ratio stands on; where one does not count, nothing is judged.
    """
    if not all(point.valid for point in points):
        return {}
    return {"ratio": ratio, "bar": target, "met": float(ratio >= target if at_least else ratio <= target)}


def judged(ones: Sequence[float], others: Sequence[float], target: float, *, at_least: bool) -> dict[str, float]:
    """Figures of a benchmark whose bar is of a ratio that was measured in turns: met where its whole interval is.

    Args:
        ones: One figure for each turn; > 0.
        others: Those of the same turns, which they are divided by.
        target: The bar.
        at_least: True = reach it, False = stay at or under it.
    """
    if len(ones) < LEAST_REPEATS:
        return bar(ones[0] / others[0], target, at_least=at_least) if ones else {}
    found = ratio(ones, others, seed=0)
    worst = found.low if at_least else found.high
    met = bar(worst, target, at_least=at_least)["met"]
    return {"ratio": found.centre, "ratio_low": found.low, "ratio_high": found.high, "bar": target, "met": met}


def store(benchmark: BenchmarkFixture, run: Callable[[], Found], empty: Benchmark) -> None:
    """Measure once, and put what was found beside pytest-benchmark's own figures.

    Args:
        benchmark: The fixture.
        run: Measures; blocks.
        empty: All that is known before.
    """
    found: Found = benchmark.pedantic(run, rounds=1, iterations=1)  # type: ignore[no-untyped-call]  # it is not typed
    whole = {**asdict(empty), **asdict(found)}
    del whole["name"]
    benchmark.extra_info.update(whole)
