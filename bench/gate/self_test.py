"""Self-test of the gate: a server that is slower by a known factor must be found, and an equal one must pass."""

from __future__ import annotations

from statistics import median
from typing import Final

from bench.gate.baseline import SHARE, Plan
from bench.gate.comparison import AFTER, BEFORE, Comparison, compare_pairs
from bench.gate.injected_slowdown import LAYERS, SLOWER_LAYERS, chain_case
from bench.gate.pairs import Arm, measure_pairs
from bench.gate.verdict import Verdict

__all__ = ["injected_ratio", "mistakes", "self_test"]

_CAUSE: Final = "run"


def self_test(plan: Plan) -> tuple[Comparison, Comparison]:
    """Compare a server with itself, then with one whose runs take a fifth longer. Blocks.

    Raises:
        LoadGeneratorError: No connection, or no request was answered.
        ChildFailed: A server did not start.
    """
    before = chain_case(LAYERS, plan.folder / "before")
    slower = chain_case(SLOWER_LAYERS, plan.folder / "slower")
    return _compare("unchanged", Arm(name=BEFORE, case=before), Arm(name=AFTER, case=before), plan), _compare(
        "a fifth slower", Arm(name=BEFORE, case=before), Arm(name=AFTER, case=slower), plan
    )


def mistakes(unchanged: Comparison, slowed: Comparison) -> list[str]:
    """What the gate got wrong; empty if it told the two apart and named the cause."""
    found = [
        f"{one.name}: expected {expected.value!r}, got {one.verdict.value!r}"
        for one, expected in ((unchanged, Verdict.HOLDS), (slowed, Verdict.SLOWER))
        if one.verdict is not expected
    ]
    stages = [growth.stage for growth in slowed.grown]
    if slowed.verdict is Verdict.SLOWER and _CAUSE not in stages:
        found.append(f"{slowed.name}: expected the cause {_CAUSE!r}, got {stages or 'none'}")
    return found


def injected_ratio(slowed: Comparison) -> float:
    """The factor by which runs really took longer, by the servers' own clocks. Requires: valid pairs."""
    return median((pair.after.stages_us or {})[_CAUSE] / (pair.before.stages_us or {})[_CAUSE] for pair in slowed.pairs)


def _compare(name: str, before: Arm, after: Arm, plan: Plan) -> Comparison:
    plan.tell(name)
    pairs = measure_pairs(
        before, after, share=SHARE, depth=plan.depth, cores=plan.cores, seed=plan.seed, tell=plan.tell
    )
    return compare_pairs(name, before.case.name, pairs, seed=plan.seed)
