"""Paired measurement of two servers, interleaved (A B B A), so that the points of a pair differ only in the server.

Both points of a pair have the same arrivals to the microsecond, so chance affects both queues alike. Judges nothing.
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
from bench.gate.cpu_affinity import Cores, pinned_to
from bench.serving import serving
from bench.store import Load, Point
from bench.suite.measuring import LoadTarget, load_target, measure
from sardonyx_server.load.loops import LoadGeneratorError

__all__ = ["Arm", "Depth", "Pair", "Pairs", "connect", "measure_pairs"]

_CAPACITY_CALLERS: Final = 32
_CAPACITY_S: Final = 1.5
# Largest utilisation of the generator's cores, at the CPU cost of a saturated generator: some 20,000/s. The real cost
# there is 0.7 of a core, because a single request needs one wake-up to send it and one to receive the response
# (2026-11-26).
_GENERATOR_BUSY: Final = 0.2
# A disturbance of the machine invalidates a point, so many short points lose less than few long ones. With fewer
# requests than this the p99 is nearly the maximum.
_LEAST_REQUESTS: Final = 300
_LEAST_S: Final = 0.5
_MOST_TRIES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the two servers.

    Attributes:
        name: ``before`` or ``after``.
        case: Its model and the request.
        checkout: The copy of the project whose sources it runs.
    """

    name: str
    case: Case
    checkout: Path = ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Sample size.

    Attributes:
        starts: How often both servers are restarted: two processes of the same code may differ throughout their lives.
        seconds: Load time of each server in valid pairs, for each start.
    """

    starts: int = 4
    seconds: float = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two points with the same arrivals.

    Attributes:
        before: Point of the first server.
        after: Point of the second server.
        start: Number of the start of both servers, from 0.
    """

    before: Point
    after: Point
    start: int = 0

    @property
    def counts(self) -> bool:
        """Whether both points are valid: the generator kept its schedule, and every request succeeded."""
        return all(point.valid and point.answered and not point.failed for point in (self.before, self.after))

    @property
    def newly_fails(self) -> bool:
        """Whether requests failed only on the second server."""
        return bool(self.after.failed) and not self.before.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All pairs of one load.

    Attributes:
        load: The load.
        pairs: In the order measured.
        point_s: Duration of each point.
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


def measure_pairs(
    before: Arm, after: Arm, *, share: float, depth: Depth, cores: Cores, seed: int, tell: Callable[[str], None]
) -> Pairs:
    """Measure pairs. Blocks for about ``2 * starts * seconds`` of the depth, or twice that if many pairs are invalid.

    Args:
        before: Its capacity decides the rate of both.
        after: The other one.
        share: Rate as a share of the capacity, or less if the generator cannot send as much.
        depth: Sample size.
        cores: Cores of servers and load generator.
        seed: Seed of arrivals; every pair has its own.
        tell: Told how far it is.

    Raises:
        LoadGeneratorError: No connection, or no request was answered.
        ChildFailed: A server did not start.
    """
    schedule: _Schedule | None = None
    pairs: list[Pair] = []
    facts: dict[str, tuple[Mapping[str, Any], ...]] = {before.name: (), after.name: ()}
    for start in range(depth.starts):
        with ExitStack() as stack:
            targets = {arm.name: connect(arm, cores, stack) for arm in (before, after)}
            for name, target in targets.items():
                facts[name] = (*facts[name], *target.server.facts.values())
            schedule = schedule or _plan_schedule(targets[before.name], share, depth, len(cores.generator) or 1, seed)
            tell(f"start {start + 1} of {depth.starts}: {schedule}")
            pairs += _measured((targets[before.name], targets[after.name]), schedule, seed + len(pairs), start)
    if schedule is None:
        raise ValueError(f"expected at least 1 start, got {depth.starts}")
    return Pairs(load=schedule.load, pairs=tuple(pairs), point_s=schedule.point_s, facts=facts)


def connect(arm: Arm, cores: Cores, stack: ExitStack) -> LoadTarget:
    """Start an arm's server and its load generator, each on their cores, until the stack is closed."""
    with pinned_to(cores.server):
        server = stack.enter_context(serving(arm.case.repository, checkout=arm.checkout))
    with pinned_to(cores.generator):
        asking = load_target(
            server,
            [arm.case.request],
            model=arm.case.name,
            processes=len(cores.generator) or None,
            server_yields=not cores.generator,
        )
        return stack.enter_context(asking)


def _measured(targets: tuple[LoadTarget, LoadTarget], schedule: _Schedule, seed: int, start: int) -> list[Pair]:
    """Pairs of one start: until enough are valid, or twice as many were measured."""
    pairs: list[Pair] = []
    while len(pairs) < _MOST_TRIES * schedule.pairs and sum(pair.counts for pair in pairs) < schedule.pairs:
        points = {}
        for side in (0, 1) if len(pairs) % 2 == 0 else (1, 0):
            points[side] = measure(targets[side], schedule.load, schedule.point_s, seed + len(pairs), attempts=1)
        pairs.append(Pair(before=points[0], after=points[1], start=start))
    return pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    """What is done in each start."""

    load: Load
    point_s: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.pairs} pairs of {self.point_s:.1f} s at {self.load.rate_per_s:,.0f}/s"


def _plan_schedule(target: LoadTarget, share: float, depth: Depth, generator_cores: int, seed: int) -> _Schedule:
    """The rate is a share of the capacity, or less if the generator cannot send as much."""
    most = measure(target, Load(kind="closed", callers=_CAPACITY_CALLERS), _CAPACITY_S, seed)
    capacity, cost_s = most.rate_reached_per_s, (most.generator_cpu_s_per_1000 or 0.0) / 1000
    if not capacity:
        raise LoadGeneratorError(f"no request was answered: {dict(most.failed)}")
    rate = min(capacity * share, _GENERATOR_BUSY * generator_cores / cost_s if cost_s else math.inf)
    load = Load(arrivals="poisson", rate_per_s=rate, share_of_capacity=rate / capacity)
    point_s = max(_LEAST_S, _LEAST_REQUESTS / rate)
    # An even number, so that each server is first equally often.
    return _Schedule(load=load, point_s=point_s, pairs=max(1, round(depth.seconds / point_s / 2)) * 2)
