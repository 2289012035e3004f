"""The verdict of a comparison: by how much one server is better, the interval, and whether the bar is met. Pure.

Better means more responses a second, or a lower p99. So every figure reads the same way: above 1 Sardonyx is ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from types import MappingProxyType
from typing import Final

from bench.bootstrap import LEAST_REPEATS, Interval, ratio
from bench.peers.ab_comparison import Pair
from bench.store import Benchmark, Point

__all__ = ["Measure", "Standing", "Verdict", "by_standing"]


class Measure(StrEnum):
    """What is compared."""

    THROUGHPUT = "answers a second"
    P99 = "p99"

    def of(self, point: Point) -> float:
        """Its value."""
        return _VALUES[self](point)

    def show(self, value: float) -> str:
        """For people."""
        return f"{value:,.0f}/s" if self is Measure.THROUGHPUT else f"{value:,.2f} ms"


_VALUES: Final[Mapping[Measure, Callable[[Point], float]]] = MappingProxyType(
    {
        Measure.THROUGHPUT: lambda point: point.rate_reached_per_s,
        Measure.P99: lambda point: point.p99_ms,
    }
)


class Standing(StrEnum):
    """How a comparison ended, the worst first."""

    BEHIND = "behind"
    """Sardonyx is slower: the whole interval is below 1."""
    UNDECIDED = "undecided"
    """The interval contains 1, so no difference is shown."""
    SHORT = "short"
    """Faster, but by less than the bar."""
    MET = "met"
    """The lower end of the interval is above the bar."""
    SHOWN = "a limit"
    """There is no bar, because the other side is an upper bound and not a server."""
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One comparison.

    Attributes:
        peer: Its name.
        model: Under load.
        question: Name of the benchmark, without its brackets.
        wording: Description of the measurement.
        measure: Quantity to compare.
        pairs: One for each turn; empty if nothing could be measured. Pairs in which the generator was late for either
            server are invalid; if most are, nothing was measured.
        bar: The lower end of the interval must be above it; None = the other side is an upper bound.
        remarks: Settings and loads, or why there is no result.
        seed: Seed of the bootstrap.
    """

    peer: str
    model: str
    question: str
    wording: str
    measure: Measure
    pairs: Sequence[Pair]
    bar: float | None = 1.0
    remarks: Sequence[str] = ()
    seed: int = 0

    @property
    def advantage(self) -> Interval | None:
        """How many times better Sardonyx is; None if requests failed, or if most turns are invalid."""
        better = self._ours if self.measure is Measure.THROUGHPUT else self._theirs
        worse = self._theirs if self.measure is Measure.THROUGHPUT else self._ours
        return ratio(better, worse, seed=self.seed) if self.is_measured else None

    @property
    def standing(self) -> Standing:
        """By the interval of the advantage."""
        found = self.advantage
        if found is None:
            return Standing.UNKNOWN
        if self.bar is None:
            return Standing.SHOWN
        if found.low > self.bar:
            return Standing.MET
        if found.low > 1:
            return Standing.SHORT
        return Standing.BEHIND if found.high < 1 else Standing.UNDECIDED

    def cells(self) -> tuple[str, ...]:
        """A line of the table: peer, model, what, ours, theirs, advantage, bar, standing."""
        found = self.advantage
        figures = ("", "", "")
        if found is not None:
            ours, theirs = (self.measure.show(median(values)) for values in (self._ours, self._theirs))
            figures = (ours, theirs, f"{found.centre:.2f}  ({found.low:.2f} .. {found.high:.2f})")
        bar = "" if self.bar is None else f"> {self.bar:g}"
        return (self.peer, self.model, self.wording, *figures, bar, self.standing.value)

    def benchmarks(self, *, scenario: str, command: str) -> list[Benchmark]:
        """For the stored run: the peer's points with the ratio, and Sardonyx's points of the same turns.

        The stored ratio is Sardonyx / peer for both measures, as everywhere in a stored run; so of a p99 it must be
        below 1. Turns that count for nothing are left out, unless nothing was measured. Remarks stand with the peer's.
        """
        pairs = self._counting if self.is_measured else self.pairs
        return [
            Benchmark(
                name=f"{self.question}[{self.peer}-{self.model}{suffix}]",
                scenario=scenario,
                question=f"{self.wording}, Sardonyx beside {self.peer}",
                model=self.model,
                server=server,
                command=command,
                points=points,
                figures=figures,
                remarks=remarks,
            )
            for suffix, server, points, figures, remarks in (
                ("", self.peer, [pair.theirs for pair in pairs], self.figures, [*self.remarks, *self._discarded]),
                ("-sardonyx", "sardonyx", [pair.ours for pair in pairs], {}, []),
            )
        ]

    @property
    def figures(self) -> dict[str, float]:
        """Figures of the stored run: ratio, its interval and the bar; {} if nothing was measured."""
        found = self.advantage
        if found is None:
            return {}
        low, high = (found.low, found.high)
        if self.measure is Measure.THROUGHPUT:
            centre = found.centre
        else:
            centre, low, high = 1 / found.centre, 1 / high, 1 / low
        if self.bar is None:
            name = self.peer.replace("-", "_")
            ends = {f"of_{name}_low": low, f"of_{name}_high": high}
            return {f"{name}_per_s": median(self._theirs), f"of_{name}": centre, **ends}
        bar = {"bar": self.bar, "met": float(self.standing is Standing.MET)}
        return {"ratio": centre, "ratio_low": low, "ratio_high": high, **bar}

    @property
    def _discarded(self) -> list[str]:
        """Why turns are invalid."""
        failed = Counter[str]()
        for pair in self.pairs:
            failed.update(pair.ours.failed)
            failed.update(pair.theirs.failed)
        if failed:
            return [f"requests failed: {', '.join(f'{count} {status}' for status, count in sorted(failed.items()))}"]
        if len(self.pairs) == 1:
            return ["one turn has no interval"]
        late = len(self.pairs) - len(self._counting)
        return [f"{late} of {len(self.pairs)} turns count for nothing: the generator was late"] if late else []

    @property
    def is_measured(self) -> bool:
        """Whether most turns are valid, at least two, and no request failed: shedding load is no speed."""
        failed = any(point.failed for pair in self.pairs for point in (pair.ours, pair.theirs))
        counting = len(self._counting)
        return not failed and 2 * counting > len(self.pairs) and counting >= LEAST_REPEATS

    @property
    def _counting(self) -> list[Pair]:
        return [
            pair
            for pair in self.pairs
            if all(point.valid and self.measure.of(point) > 0 for point in (pair.ours, pair.theirs))
        ]

    @property
    def _ours(self) -> list[float]:
        return [self.measure.of(pair.ours) for pair in self._counting]

    @property
    def _theirs(self) -> list[float]:
        return [self.measure.of(pair.theirs) for pair in self._counting]


def by_standing(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Losing cases first, unmeasured ones last; within a standing the smallest advantage first."""
    order = list(Standing)

    def place(verdict: Verdict) -> tuple[int, float]:
        found = verdict.advantage
        return order.index(verdict.standing), 0.0 if found is None else found.low

    return sorted(verdicts, key=place)
