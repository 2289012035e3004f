"""The baseline of the gate: another commit that is measured in the same run, or the figures of a stored run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from bench.cases import Case, CaseMissing, make
from bench.control import ChildFailed
from bench.gate.comparison import AFTER, BEFORE, POINT_S, SCENARIO, Comparison, compare_pairs
from bench.gate.cpu_affinity import Cores
from bench.gate.pairs import Arm, Depth, Pair, Pairs, connect, measure_pairs
from bench.store import Benchmark, Run
from bench.suite.measuring import measure
from sardonyx_server.load.loops import LoadGeneratorError

__all__ = ["SHARE", "Plan", "compare_with_commit", "compare_with_stored_run"]

SHARE: Final = 0.5
"""Load as a share of the capacity: the queue is in use but not full, so the p99 reflects the server, not chance."""

_WEAKER: Final = (
    "two runs on two days are weaker evidence than one: what else has changed on the machine counts as the server's"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Options of the gate.

    Attributes:
        folder: Folder for the repositories; empty at first.
        models: Names of cases.
        depth: Sample size.
        cores: Cores of servers and load generator.
        seed: Seed of arrivals and of the resampling.
        tell: Called with progress messages.
    """

    folder: Path
    models: Sequence[str]
    depth: Depth
    cores: Cores
    seed: int
    tell: Callable[[str], None]


def compare_with_commit(plan: Plan, checkout: Path) -> list[Comparison]:
    """Compare with another commit: both servers in one run, interleaved.

    Args:
        plan: Options.
        checkout: Root of the other commit's sources, which run with this environment's packages.
    """

    def compare(case: Case) -> Comparison:
        arms = Arm(name=BEFORE, case=case, checkout=checkout), Arm(name=AFTER, case=case)
        pairs = measure_pairs(*arms, share=SHARE, depth=plan.depth, cores=plan.cores, seed=plan.seed, tell=plan.tell)
        return compare_pairs(case.name, case.name, pairs, seed=plan.seed)

    return [_compare_or_explain(name, plan, compare) for name in plan.models]


def compare_with_stored_run(plan: Plan, earlier: Run) -> list[Comparison]:
    """Compare with a stored run: only this server is measured, at the stored rates and with the stored arrivals.

    Args:
        plan: Options; the sample size is that of the stored run.
        earlier: Stored run; only the points of its own checkout are used.
    """
    stored = {one.model: one for one in earlier.benchmarks if one.scenario == SCENARIO and POINT_S in one.figures}
    remarks = [_WEAKER, *_machines(earlier)]

    def compare(case: Case) -> Comparison:
        benchmark = stored.get(case.name)
        if benchmark is None:
            raise CaseMissing(
                f"the stored run has no load on {case.name!r}; it has {', '.join(stored) or 'none at all'}"
            )
        return compare_pairs(case.name, case.name, _repeated(benchmark, case, plan), seed=plan.seed, remarks=remarks)

    return [_compare_or_explain(name, plan, compare) for name in plan.models]


def _repeated(stored: Benchmark, case: Case, plan: Plan) -> Pairs:
    earlier = [point for point in stored.points if point.label == AFTER]
    if not earlier:
        raise CaseMissing(f"the stored run has no points of {case.name!r} that count")
    point_s = stored.figures[POINT_S]
    plan.tell(f"{len(earlier)} points of {point_s:.1f} s, as stored")
    with ExitStack() as stack:
        target = connect(Arm(name=AFTER, case=case), plan.cores, stack)
        pairs = tuple(
            Pair(before=point, after=measure(target, point.load, point_s, point.seed, attempts=1)) for point in earlier
        )
    return Pairs(load=earlier[0].load, pairs=pairs, point_s=point_s)


def _machines(earlier: Run) -> list[str]:
    return [f"the stored run is of {earlier.started or 'an unknown day'}, commit {earlier.commit[:10] or 'unknown'}"]


def _compare_or_explain(name: str, plan: Plan, compare: Callable[[Case], Comparison]) -> Comparison:
    """The comparison of one load, or the reason why it could not be measured."""
    plan.tell(name)
    try:
        return compare(make(name, plan.folder))
    except (CaseMissing, ChildFailed, LoadGeneratorError, grpc.RpcError) as error:
        return Comparison(name=name, model=name, remarks=[f"{type(error).__name__}: {error}"])
