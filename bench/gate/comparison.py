"""From pairs of points to a verdict on one load, and the form in which it is stored. Measures nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from bench.bootstrap import LEAST_REPEATS, Interval, ratio
from bench.gate.pairs import Pair, Pairs
from bench.gate.stages import Growth, explained, growths
from bench.gate.verdict import LIMIT, Verdict, judge
from bench.store import Benchmark, Load

__all__ = ["AFTER", "BEFORE", "POINT_S", "SCENARIO", "Comparison", "compared"]

SCENARIO: Final = "gate"
"""Of the benchmarks that the gate stores: a point of each side for each repeat, told apart by their labels."""
BEFORE: Final = "before"
AFTER: Final = "after"
POINT_S: Final = "point_s"
"""The figure that says how long each point was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One load on two servers.

    Attributes:
        name: Of the load, for people and for the benchmark.
        model: That was asked.
        load: What was asked for; None where nothing could be.
        pairs: Those that count.
        point_s: How long each point was measured.
        p99_ratio: After / before; None where no pairs count.
        verdict: What that says.
        grown: Stages that have grown, where the verdict is that it is slower.
        remarks: What grew in words, and whatever weakens the verdict.
    """

    name: str
    model: str
    load: Load | None = None
    pairs: Sequence[Pair] = ()
    point_s: float = 0.0
    p99_ratio: Interval | None = None
    verdict: Verdict = Verdict.UNMEASURED
    grown: Sequence[Growth] = ()
    remarks: Sequence[str] = ()

    @property
    def p99_before_ms(self) -> float:
        """Median over the pairs; 0 where there are none."""
        return median(pair.before.p99_ms for pair in self.pairs) if self.pairs else 0.0

    @property
    def p99_after_ms(self) -> float:
        """Likewise."""
        return median(pair.after.p99_ms for pair in self.pairs) if self.pairs else 0.0

    def as_benchmark(self, command: str) -> Benchmark:
        """As it is stored.

        Args:
            command: Measures it again.
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


def compared(name: str, model: str, pairs: Pairs, *, seed: int, remarks: Sequence[str] = ()) -> Comparison:
    """The verdict on pairs of points.

    Args:
        name: Of the load.
        model: That was asked.
        pairs: All that were measured.
        seed: Of the resampling.
        remarks: Whatever weakens it.
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
    grown = growths(before, after, seed=seed, starts=starts)
    return replace(found, p99_ratio=p99_ratio, verdict=verdict, grown=grown, remarks=[explained(grown), *told])


def _left_out(count: int) -> list[str]:
    if not count:
        return []
    what = "1 pair" if count == 1 else f"{count} pairs"
    return [f"{what} left out: the generator fell behind its schedule, or a request failed"]


def _set_up(facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the servers found at load, where that is not the same."""
    found = {arm: {_words(fact) for fact in of_arm} for arm, of_arm in facts.items()}
    if len(set[str]().union(*found.values())) <= 1:
        return []
    sides = "; ".join(f"{arm} {' or '.join(sorted(words))}" for arm, words in found.items())
    return [f"the servers set up the model differently at load: {sides}"]


def _words(fact: Mapping[str, Any]) -> str:
    who = f"{fact['runners']} runners x {fact['threads']} threads" if fact.get("runners") else "inline"
    return f"{who} at most {fact.get('max_rows')} rows"
