"""Pairs of points -> the comparison of one load, with its verdict and its stored form. Measures nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from bench.bootstrap import LEAST_REPEATS, Interval, ratio
from bench.gate.attribution import StageGrowth, explain, grown_stages
from bench.gate.pairs import Pair, Pairs
from bench.gate.verdict import LIMIT, Verdict, judge
from bench.store import Benchmark, Load

__all__ = ["AFTER", "BEFORE", "POINT_S", "SCENARIO", "Comparison", "compare_pairs"]

SCENARIO: Final = "gate"
"""Scenario of the gate's benchmarks. Each repeat has two points, labelled ``before`` and ``after``."""
BEFORE: Final = "before"
AFTER: Final = "after"
POINT_S: Final = "point_s"
"""The figure that says how long each point was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of two servers under one load.

    Attributes:
        name: Name of the load, also of its benchmark.
        model: The model.
        load: The load; None if nothing could be measured.
        pairs: Valid pairs.
        point_s: Duration of each point.
        p99_ratio: After / before; None if no pair is valid.
        verdict: The verdict.
        grown: Stages that have grown, if the verdict is ``slower``.
        remarks: Which stages grew, and whatever weakens the verdict.
    """

    name: str
    model: str
    load: Load | None = None
    pairs: Sequence[Pair] = ()
    point_s: float = 0.0
    p99_ratio: Interval | None = None
    verdict: Verdict = Verdict.UNMEASURED
    grown: Sequence[StageGrowth] = ()
    remarks: Sequence[str] = ()

    @property
    def p99_before_ms(self) -> float:
        """Median over the pairs; 0 if there are none."""
        return median(pair.before.p99_ms for pair in self.pairs) if self.pairs else 0.0

    @property
    def p99_after_ms(self) -> float:
        """Median over the pairs; 0 if there are none."""
        return median(pair.after.p99_ms for pair in self.pairs) if self.pairs else 0.0

    def as_benchmark(self, command: str) -> Benchmark:
        """The benchmark to store.

        Args:
            command: Command that reproduces it.
        """
        ends = self.p99_ratio
        found = {} if ends is None else {"ratio": ends.centre, "ratio_low": ends.low, "ratio_high": ends.high}
        met = self.verdict in (Verdict.HOLDS, Verdict.UNCLEAR)
        return Benchmark(
            name=f"test_p99_has_not_grown[{self.name}]",
            scenario=SCENARIO,
            question="Is the p99 of this checkout that of the other one, at an equal rate?",
            model=self.model,
            command=command,
            points=[
                *(replace(pair.before, label=BEFORE) for pair in self.pairs),
                *(replace(pair.after, label=AFTER) for pair in self.pairs),
            ],
            figures={**found, "bar": LIMIT, "met": float(met), POINT_S: self.point_s},
            remarks=[self.verdict.value, *self.remarks],
        )


def compare_pairs(name: str, model: str, pairs: Pairs, *, seed: int, remarks: Sequence[str] = ()) -> Comparison:
    """Compare pairs of points.

    Args:
        name: Name of the load.
        model: The model.
        pairs: All measured pairs.
        seed: Seed of the resampling.
        remarks: Whatever weakens the verdict.
    """
    counted = pairs.counted
    told = [*remarks, *_left_out(len(pairs.pairs) - len(counted)), *_set_up(pairs.facts)]
    found = Comparison(name=name, model=model, load=pairs.load, pairs=counted, point_s=pairs.point_s, remarks=told)
    if failures := [pair.after.failed for pair in pairs.pairs if pair.newly_fails]:
        words = ", ".join(f"{status} {number}" for status, number in sum(map(Counter, failures), Counter()).items())
        return replace(found, verdict=Verdict.FAILS, remarks=[f"failed on this checkout alone: {words}", *told])
    if len(counted) < LEAST_REPEATS:
        return found
    starts = [pair.start for pair in counted]
    before, after = [pair.before for pair in counted], [pair.after for pair in counted]
    p99_ratio = ratio([point.p99_ms for point in after], [point.p99_ms for point in before], seed=seed, starts=starts)
    verdict = judge(p99_ratio, len(counted))
    if verdict is not Verdict.SLOWER:
        return replace(found, p99_ratio=p99_ratio, verdict=verdict)
    grown = grown_stages(before, after, seed=seed, starts=starts)
    return replace(found, p99_ratio=p99_ratio, verdict=verdict, grown=grown, remarks=[explain(grown), *told])


def _left_out(count: int) -> list[str]:
    if not count:
        return []
    what = "1 pair" if count == 1 else f"{count} pairs"
    return [f"{what} left out: the generator fell behind its schedule, or a request failed"]


def _set_up(facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """How the servers set up the model, if they did so differently."""
    found = {arm: {_words(fact) for fact in of_arm} for arm, of_arm in facts.items()}
    if len(set[str]().union(*found.values())) <= 1:
        return []
    sides = "; ".join(f"{arm} {' or '.join(sorted(words))}" for arm, words in found.items())
    return [f"the servers set up the model differently at load: {sides}"]


def _words(fact: Mapping[str, Any]) -> str:
    who = f"{fact['runners']} runners x {fact['threads']} threads" if fact.get("runners") else "inline"
    return f"{who} at most {fact.get('max_rows')} rows"
