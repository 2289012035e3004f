"""What loads do to each other: a heavy model beside a cheap one, and requests whose shapes differ."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from bench.cases import make, request_of
from bench.serving import serving
from bench.store import Load, Point
from bench.suite.findings import Findings, Recorder
from bench.suite.measuring import load_target, measure
from bench.suite.plan import Plan

_CHEAP_RATE: Final = 500.0
_HEAVY_SHARE: Final = 0.7
_CALLERS: Final = 32
_LENGTHS: Final = (8, 16, 32, 64)
_SHAPES_SHARE: Final = 0.5


def test_p99_of_a_cheap_model_beside_a_heavy_one(
    plan: Plan, record: Recorder, folder: Callable[[], Path], say: Callable[[str], None]
) -> None:
    """What do callers of a cheap model notice of a heavy one under load on the same server?"""

    def run() -> Findings:
        cheap, heavy = (make(name, folder()) for name in ("iris", "magika"))
        shutil.copytree(heavy.repository / heavy.name, cheap.repository / heavy.name)
        with (
            serving(cheap.repository) as server,
            load_target(server, [cheap.request], model=cheap.name) as to_cheap,
            load_target(server, [heavy.request], model=heavy.name) as to_heavy,
        ):
            most = measure(to_heavy, Load(kind="closed", callers=_CALLERS), plan.rate_s, plan.seed)
            steady = Load(arrivals="poisson", rate_per_s=_CHEAP_RATE)
            busy = Load(arrivals="poisson", rate_per_s=most.rate_reached_per_s * _HEAVY_SHARE)
            alone = replace(measure(to_cheap, steady, plan.load_s, plan.seed), label="alone")
            others: list[Point] = []
            # Its load begins a little earlier and ends later than the one that is looked at.
            other = threading.Thread(
                target=lambda: others.append(measure(to_heavy, busy, plan.load_s + 1.0, plan.seed)), name="heavy"
            )
            other.start()
            beside = replace(measure(to_cheap, steady, plan.load_s, plan.seed), label="beside")
            other.join()
        say(f"p99 {alone.p99_ms:.2f} ms alone, {beside.p99_ms:.2f} ms beside")
        return Findings(
            points=[alone, beside, *(replace(point, label="the heavy one") for point in others)],
            figures={"p99_ratio": beside.p99_ms / alone.p99_ms, "heavy_capacity_per_s": most.rate_reached_per_s},
            remarks=[f"iris at {_CHEAP_RATE:g}/s; magika at {_HEAVY_SHARE:.0%} of its capacity, both cores can run it"],
        )

    record("mixed-models", run)


def test_p99_of_mixed_shapes(
    plan: Plan, record: Recorder, folder: Callable[[], Path], say: Callable[[str], None]
) -> None:
    """What does it cost that requests of different lengths cannot share a run?"""

    def run() -> Findings:
        case = make("series", folder())
        (series,) = case.row.values()
        random = np.random.default_rng(plan.seed)
        mean = sum(_LENGTHS) // len(_LENGTHS)
        rows = {length: {"x": random.random((1, length, series.shape[2]), np.float32)} for length in (*_LENGTHS, mean)}
        messages = {length: request_of(case.name, row) for length, row in rows.items()}
        with serving(case.repository) as server:
            with load_target(server, [messages[mean]], model=case.name) as target:
                most = measure(target, Load(kind="closed", callers=_CALLERS), plan.rate_s, plan.seed)
                load = Load(arrivals="poisson", rate_per_s=most.rate_reached_per_s * _SHAPES_SHARE)
                one = replace(measure(target, load, plan.load_s, plan.seed), label="one shape")
            with load_target(server, [messages[length] for length in _LENGTHS], model=case.name) as target:
                mixed = replace(measure(target, load, plan.load_s, plan.seed), label="four shapes")
        say(f"p99 {one.p99_ms:.2f} ms with one shape, {mixed.p99_ms:.2f} ms with four")
        return Findings(
            points=[one, mixed],
            figures={"p99_ratio": mixed.p99_ms / one.p99_ms, "capacity_per_s": most.rate_reached_per_s},
            remarks=[
                f"series of {mean} steps, or of {', '.join(map(str, _LENGTHS))} in turn; {_SHAPES_SHARE:.0%} load"
            ],
        )

    record("mixed-shapes", run)
