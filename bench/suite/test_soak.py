"""Half an hour of load: does memory grow?"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from bench.cases import make
from bench.serving import Server, serving
from bench.store import Load, Point
from bench.suite.findings import Findings, Recorder
from bench.suite.measuring import load_target, measure
from bench.suite.plan import Plan

_SAMPLE_S: Final = 5.0
_PARTS: Final = 6
# What the first loads allocate is kept; a leak shows after it.
_SETTLED: Final = 1 / 3
_RATES: Final = {"iris": 1000.0, "magika": 60.0}
_S_PER_H: Final = 3600


@pytest.mark.soak
def test_memory_over_half_an_hour(
    plan: Plan, record: Recorder, folder: Callable[[], Path], say: Callable[[str], None]
) -> None:
    """Does memory grow while two models are asked for half an hour?"""

    def run() -> Findings:
        first, second = (make(name, folder()) for name in _RATES)
        shutil.copytree(second.repository / second.name, first.repository / second.name)
        part_s = plan.soak_s / _PARTS
        with (
            serving(first.repository) as server,
            load_target(server, [first.request], model=first.name) as to_first,
            load_target(server, [second.request], model=second.name) as to_second,
        ):
            ended = threading.Event()
            samples: list[tuple[float, int]] = []
            watch = threading.Thread(target=_watch, args=(server, samples, ended), name="watch")
            watch.start()
            points: list[Point] = []
            for part in range(_PARTS):
                load = Load(arrivals="poisson", rate_per_s=_RATES[second.name])
                other = threading.Thread(target=measure, args=(to_second, load, part_s, plan.seed), name="second")
                other.start()
                load = Load(arrivals="poisson", rate_per_s=_RATES[first.name])
                label = f"from minute {part * part_s / 60:g}"
                points.append(replace(measure(to_first, load, part_s, plan.seed + part), label=label))
                other.join()
                say(f"{label}: p99 {points[-1].p99_ms:.2f} ms, {server.memory_bytes() / 1e6:.1f} MB")
            ended.set()
            watch.join()
        slope = _slope([sample for sample in samples if sample[0] > plan.soak_s * _SETTLED])
        return Findings(
            points=points,
            figures={"memory_slope_bytes_per_h": slope, "memory_bytes": float(samples[-1][1]), "soak_s": plan.soak_s},
            remarks=["; ".join(f"{name} at {rate:g}/s" for name, rate in _RATES.items())],
        )

    record("soak", run)


def _watch(server: Server, samples: list[tuple[float, int]], ended: threading.Event) -> None:
    began_s = time.monotonic()
    while not ended.wait(_SAMPLE_S):
        samples.append((time.monotonic() - began_s, server.memory_bytes()))


def _slope(samples: list[tuple[float, int]]) -> float:
    """Bytes an hour, of a straight line through the samples; 0 for less than two."""
    if len(samples) < 2:  # noqa: PLR2004  # a line
        return 0.0
    times_s, sizes = zip(*samples, strict=True)
    return float(np.polyfit(times_s, sizes, 1)[0]) * _S_PER_H
