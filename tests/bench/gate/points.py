"""Points of made-up servers, for tests of the gate: what they would have measured, with the noise that a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.gate.pairs import Pair, Pairs
from bench.store import Load, Point

LOAD = Load(arrivals="poisson", rate_per_s=200.0, share_of_capacity=0.5)
STAGES_US = {"transport": 600.0, "decode": 0.0, "queue": 900.0, "gather": 10.0, "run": 2000.0, "encode": 20.0}


def point(p99_ms: float, *, stages_us: Mapping[str, float] | None = None, seed: int = 0) -> Point:
    """A point that counts."""
    stages = STAGES_US if stages_us is None else stages_us
    mean_ms = sum(stages.values()) / 1000
    return Point(load=LOAD, answered=300, p99_ms=p99_ms, mean_ms=mean_ms, stages_us=dict(stages), seed=seed)


def pairs(
    count: int, *, grown: Mapping[str, float] | None = None, p99_ratio: float = 1.0, noise: float = 0.1, seed: int = 1
) -> Pairs:
    """So many pairs of two servers.

    Args:
        count: Of pairs.
        grown: Stage -> factor by which it takes longer in the second.
        p99_ratio: Of the second to the first.
        noise: Of each p99 (standard deviation of its logarithm), and half as much of each stage.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    factors = dict.fromkeys(STAGES_US, 1.0) | dict(grown or {})

    def noisy(p99_ms: float, of: Mapping[str, float], number: int) -> Point:
        stages = {name: us * of[name] * float(np.exp(rng.normal(0, noise / 2))) for name, us in STAGES_US.items()}
        return point(p99_ms * float(np.exp(rng.normal(0, noise))), stages_us=stages, seed=number)

    unchanged = dict.fromkeys(STAGES_US, 1.0)
    made = [
        Pair(before=noisy(10.0, unchanged, number), after=noisy(10.0 * p99_ratio, factors, number))
        for number in range(count)
    ]
    return Pairs(load=LOAD, pairs=tuple(made), point_s=1.5)


def discarded(one: Pairs, numbers: Sequence[int]) -> Pairs:
    """The same, with the generator late in some of them."""
    return replace(
        one,
        pairs=tuple(
            replace(pair, after=replace(pair.after, valid=False)) if number in numbers else pair
            for number, pair in enumerate(one.pairs)
        ),
    )
