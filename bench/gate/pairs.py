"""Two servers under the same load in turns, A B B A: pairs of points that are told apart by the server alone.

Both of a pair get the same arrivals to the microsecond, so what chance does to a queue it does to both. Judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.cases import Case
from bench.control import ROOT
from bench.gate.cores import Cores, on
from bench.serving import serving
from bench.store import Load, Point
from bench.suite.measuring import Aimed, aimed, measure
from sardonyx_server.load.loops import LoadGeneratorError

__all__ = ["Arm", "Depth", "Pair", "Pairs", "in_pairs", "targeted"]

_CAPACITY_CALLERS: Final = 32
_CAPACITY_S: Final = 1.5
# Of its cores, as a saturated generator spends them: some 20,000/s. It really spends 0.7 of a core on these, because a
# request that comes singly costs a wake-up to send it and one to hear the answer (2026-11-26).
_GENERATOR_BUSY: Final = 0.2
# A hiccup of the machine spoils a point: many short ones lose less than few long ones. With fewer requests than this
# the p99 is the slowest of them.
_LEAST_REQUESTS: Final = 300
_LEAST_S: Final = 0.5
_MOST_TRIES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of two servers.

    Attributes:
        name: ``before`` or ``after``.
        case: What it serves, and the request that is sent.
        checkout: The copy of the project whose sources it runs.
    """

    name: str
    case: Case
    checkout: Path = ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How thoroughly to measure.

    Attributes:
        starts: How often both servers are started anew: two processes of the same code may differ for all their life.
        seconds: That each server is under load in pairs that count, for each start.
    """

    starts: int = 4
    seconds: float = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two points under the same arrivals.

    Attributes:
        before: Of the first server.
        after: Of the second one.
        start: Which start of both servers they are of, from 0.
    """

    before: Point
    after: Point
    start: int = 0

    @property
    def counts(self) -> bool:
        """Whether both are to be believed: the generator kept its schedule, and each request was answered."""
        return all(point.valid and point.answered and not point.failed for point in (self.before, self.after))

    @property
    def newly_fails(self) -> bool:
        """Whether requests failed on the second server that the first one answered."""
        return bool(self.after.failed) and not self.before.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All pairs of one load.

    Attributes:
        load: What both were asked for.
        pairs: In the order measured.
        point_s: How long each point was measured.
        facts: Arm -> how its servers have set up the model, of each start.
    """

    load: Load
    pairs: tuple[Pair, ...]
    point_s: float
    facts: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    @property
    def counted(self) -> tuple[Pair, ...]:
        """Those that count."""
        return tuple(pair for pair in self.pairs if pair.counts)


def in_pairs(
    before: Arm, after: Arm, *, share: float, depth: Depth, cores: Cores, seed: int, tell: Callable[[str], None]
) -> Pairs:
    """Measure. Blocks for about ``2 * starts * seconds`` of the depth, or twice that where many pairs do not count.

    Args:
        before: Its capacity decides the rate of both.
        after: The other one.
        share: Of the capacity; less, where the generator has no time for that.
        depth: How thoroughly.
        cores: Of servers and generator.
        seed: Of arrivals; every pair has its own.
        tell: Told how far it is.

    Raises:
        LoadGeneratorError: No connection, or no request was answered.
        ChildFailed: A server did not start.
    """
    course: _Course | None = None
    pairs: list[Pair] = []
    facts: dict[str, tuple[Mapping[str, Any], ...]] = {before.name: (), after.name: ()}
    for start in range(depth.starts):
        with ExitStack() as stack:
            targets = {arm.name: targeted(arm, cores, stack) for arm in (before, after)}
            for name, target in targets.items():
                facts[name] = (*facts[name], *target.server.facts.values())
            course = course or _course(targets[before.name], share, depth, len(cores.generator) or 1, seed)
            tell(f"start {start + 1} of {depth.starts}: {course}")
            pairs += _measured((targets[before.name], targets[after.name]), course, seed + len(pairs), start)
    if course is None:
        raise ValueError(f"expected at least 1 start, got {depth.starts}")
    return Pairs(load=course.load, pairs=tuple(pairs), point_s=course.point_s, facts=facts)


def targeted(arm: Arm, cores: Cores, stack: ExitStack) -> Aimed:
    """Start an arm's server and the processes that ask it, each on their cores, until the stack ends."""
    with on(cores.server):
        server = stack.enter_context(serving(arm.case.repository, checkout=arm.checkout))
    with on(cores.generator):
        asking = aimed(
            server,
            [arm.case.request],
            model=arm.case.name,
            processes=len(cores.generator) or None,
            gives_way=not cores.generator,
        )
        return stack.enter_context(asking)


def _measured(targets: tuple[Aimed, Aimed], course: _Course, seed: int, start: int) -> list[Pair]:
    """Pairs of one start: as many as the course says that count, or twice as many where the machine disturbs them."""
    pairs: list[Pair] = []
    while len(pairs) < _MOST_TRIES * course.pairs and sum(pair.counts for pair in pairs) < course.pairs:
        points = {}
        for side in (0, 1) if len(pairs) % 2 == 0 else (1, 0):
            points[side] = measure(targets[side], course.load, course.point_s, seed + len(pairs), attempts=1)
        pairs.append(Pair(before=points[0], after=points[1], start=start))
    return pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What is done in each start."""

    load: Load
    point_s: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.pairs} pairs of {self.point_s:.1f} s at {self.load.rate_per_s:,.0f}/s"


def _course(target: Aimed, share: float, depth: Depth, generator_cores: int, seed: int) -> _Course:
    """The rate that both get is a share of the capacity, or what the generator has time for."""
    most = measure(target, Load(kind="closed", callers=_CAPACITY_CALLERS), _CAPACITY_S, seed)
    capacity, cost_s = most.rate_reached_per_s, (most.generator_cpu_s_per_1000 or 0.0) / 1000
    if not capacity:
        raise LoadGeneratorError(f"no request was answered: {dict(most.failed)}")
    rate = min(capacity * share, _GENERATOR_BUSY * generator_cores / cost_s if cost_s else math.inf)
    load = Load(arrivals="poisson", rate_per_s=rate, share_of_capacity=rate / capacity)
    point_s = max(_LEAST_S, _LEAST_REQUESTS / rate)
    # An even number, so that each goes first as often.
    return _Course(load=load, point_s=point_s, pairs=max(1, round(depth.seconds / point_s / 2)) * 2)
