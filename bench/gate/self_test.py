"""Does the gate find what it promises to find, and only that? One server known to be slower, and one that is not."""

from __future__ import annotations

from statistics import median
from typing import Final

from bench.gate.against import SHARE, Plan
from bench.gate.comparison import AFTER, BEFORE, Comparison, compared
from bench.gate.pairs import Arm, in_pairs
from bench.gate.planted import LAYERS, SLOWER_LAYERS, chain
from bench.gate.verdict import Verdict

__all__ = ["mistakes", "planted_ratio", "self_test"]

_CAUSE: Final = "run"


def self_test(plan: Plan) -> tuple[Comparison, Comparison]:
    """Compare a server with itself, then with one whose runs take a fifth longer. Blocks.

    Raises:
        LoadGeneratorError: No connection, or no request was answered.
        ChildFailed: A server did not start.
    """
    before = chain(LAYERS, plan.folder / "before")
    slower = chain(SLOWER_LAYERS, plan.folder / "slower")
    return _compare("unchanged", Arm(name=BEFORE, case=before), Arm(name=AFTER, case=before), plan), _compare(
        "a fifth slower", Arm(name=BEFORE, case=before), Arm(name=AFTER, case=slower), plan
    )


def mistakes(unchanged: Comparison, slowed: Comparison) -> list[str]:
    """What the gate got wrong; empty where it told the two apart and named the cause."""
    found = [
        f"{one.name}: expected {expected.value!r}, got {one.verdict.value!r}"
        for one, expected in ((unchanged, Verdict.HOLDS), (slowed, Verdict.SLOWER))
        if one.verdict is not expected
    ]
    stages = [growth.stage for growth in slowed.grown]
    if slowed.verdict is Verdict.SLOWER and _CAUSE not in stages:
        found.append(f"{slowed.name}: expected the cause {_CAUSE!r}, got {stages or 'none'}")
    return found


def planted_ratio(slowed: Comparison) -> float:
    """By how much the runs really took longer, by the servers' own clocks. Requires: pairs that count."""
    return median((pair.after.stages_us or {})[_CAUSE] / (pair.before.stages_us or {})[_CAUSE] for pair in slowed.pairs)


def _compare(name: str, before: Arm, after: Arm, plan: Plan) -> Comparison:
    plan.tell(name)
    pairs = in_pairs(before, after, share=SHARE, depth=plan.depth, cores=plan.cores, seed=plan.seed, tell=plan.tell)
    return compared(name, before.case.name, pairs, seed=plan.seed)
