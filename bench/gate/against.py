"""What this checkout is compared with: another commit beside it in one run, or what an earlier run has stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from bench.cases import Case, CaseMissing, make
from bench.control import ChildFailed
from bench.gate.comparison import AFTER, BEFORE, POINT_S, SCENARIO, Comparison, compared
from bench.gate.cores import Cores
from bench.gate.pairs import Arm, Depth, Pair, Pairs, in_pairs, targeted
from bench.store import Benchmark, Run
from bench.suite.measuring import measure
from sardonyx_server.load.loops import LoadGeneratorError

__all__ = ["SHARE", "Plan", "with_commit", "with_stored"]

SHARE: Final = 0.5
"""Of the capacity: the queue is in use and far from full, so that the p99 tells of the server and not of chance."""

_WEAKER: Final = (
    "two runs on two days are weaker evidence than one: what else has changed on the machine counts as the server's"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure.

    Attributes:
        folder: For the repositories; empty at first.
        models: Names of cases.
        depth: How thoroughly.
        cores: Of servers and generator.
        seed: Of arrivals and of the resampling.
        tell: Told how far it is.
    """

    folder: Path
    models: Sequence[str]
    depth: Depth
    cores: Cores
    seed: int
    tell: Callable[[str], None]


def with_commit(plan: Plan, checkout: Path) -> list[Comparison]:
    """Both servers in one run, in turns.

    Args:
        plan: How to measure.
        checkout: Root of the other commit's sources, which run on this environment's packages.
    """

    def compare(case: Case) -> Comparison:
        arms = Arm(name=BEFORE, case=case, checkout=checkout), Arm(name=AFTER, case=case)
        pairs = in_pairs(*arms, share=SHARE, depth=plan.depth, cores=plan.cores, seed=plan.seed, tell=plan.tell)
        return compared(case.name, case.name, pairs, seed=plan.seed)

    return [_tried(name, plan, compare) for name in plan.models]


def with_stored(plan: Plan, earlier: Run) -> list[Comparison]:
    """This server alone, under the rates and the arrivals of an earlier run of the gate, against what that has stored.

    Args:
        plan: How to measure; the depth is that of the earlier run.
        earlier: Of which only the points of its own checkout count.
    """
    stored = {one.model: one for one in earlier.benchmarks if one.scenario == SCENARIO and POINT_S in one.figures}
    remarks = [_WEAKER, *_machines(earlier)]

    def compare(case: Case) -> Comparison:
        benchmark = stored.get(case.name)
        if benchmark is None:
            raise CaseMissing(
                f"the stored run has no load on {case.name!r}; it has {', '.join(stored) or 'none at all'}"
            )
        return compared(case.name, case.name, _repeated(benchmark, case, plan), seed=plan.seed, remarks=remarks)

    return [_tried(name, plan, compare) for name in plan.models]


def _repeated(stored: Benchmark, case: Case, plan: Plan) -> Pairs:
    earlier = [point for point in stored.points if point.label == AFTER]
    if not earlier:
        raise CaseMissing(f"the stored run has no points of {case.name!r} that count")
    point_s = stored.figures[POINT_S]
    plan.tell(f"{len(earlier)} points of {point_s:.1f} s, as stored")
    with ExitStack() as stack:
        target = targeted(Arm(name=AFTER, case=case), plan.cores, stack)
        pairs = tuple(
            Pair(before=point, after=measure(target, point.load, point_s, point.seed, attempts=1)) for point in earlier
        )
    return Pairs(load=earlier[0].load, pairs=pairs, point_s=point_s)


def _machines(earlier: Run) -> list[str]:
    return [f"the stored run is of {earlier.started or 'an unknown day'}, commit {earlier.commit[:10] or 'unknown'}"]


def _tried(name: str, plan: Plan, compare: Callable[[Case], Comparison]) -> Comparison:
    """One load; where it cannot be measured, the reason, and the others go on."""
    plan.tell(name)
    try:
        return compare(make(name, plan.folder))
    except (CaseMissing, ChildFailed, LoadGeneratorError, grpc.RpcError) as error:
        return Comparison(name=name, model=name, remarks=[f"{type(error).__name__}: {error}"])
