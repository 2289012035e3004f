"""More than a server can bear: what is still answered within its deadline.

Asked of models whose capacity the generator, which shares the cores, can exceed five times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from bench.store import Load, Point
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder, bar
from bench.suite.measuring import load_target, measure
from bench.suite.plan import Plan
from sardonyx_server.runtime.cores import available_cores

_OF_PEAK: Final = 0.85
# Of a request alone: a caller that waits that long for it has a reason to give up.
_DEADLINE_RUNS: Final = 20
_LEAST_DEADLINE_S: Final = 0.05


@pytest.mark.of_models("magika", "orientation")
def test_goodput_at_five_times_capacity(
    deployed: Deployment, capacity: float, plan: Plan, record: Recorder, say: Callable[[str], None]
) -> None:
    """How much is answered in time when five times as much is asked as can be answered?"""
    deadline_s = max(_LEAST_DEADLINE_S, deployed.best_in_process.run_s[1] * _DEADLINE_RUNS)

    def run() -> Findings:
        points = []
        with load_target(
            deployed.server,
            [deployed.case.request],
            model=deployed.case.name,
            answer_bytes=deployed.answer_bytes,
            timeout_s=deadline_s,
        ) as target:
            for share in plan.overload:
                load = Load(arrivals="poisson", rate_per_s=capacity * share, share_of_capacity=share)
                points.append(measure(target, load, plan.load_s, plan.seed))
                say(f"{share:g} times: {points[-1].goodput_per_s:,.0f}/s in time, {dict(points[-1].failed)}")
        good = [point.goodput_per_s or 0.0 for point in points]
        generator, at_peak = (_generator_cores(points[at]) for at in (-1, good.index(max(good))))
        cores = available_cores()
        limit = (cores - generator) / (cores - at_peak)
        return Findings(
            points=points,
            figures={
                "capacity_per_s": capacity,
                "deadline_s": deadline_s,
                "peak_goodput_per_s": max(good),
                "generator_cores": generator,
                "generator_cores_at_peak": at_peak,
                "limit": limit,
            }
            | bar(good[-1] / max(good), _OF_PEAK, at_least=True, points=points),
            remarks=[
                f"deadline {deadline_s * 1e3:.0f} ms; the bar is goodput at 5 times / the highest",
                f"generator: {generator:.2f} of {cores} cores at 5 times, {at_peak:.2f} at the highest",
                f"who refuses for nothing would have {limit:.2f} of the highest",
            ],
        )

    record("overload", run)


def _generator_cores(point: Point) -> float:
    """What the generator took, which is missing where the models run; a caller elsewhere takes nothing."""
    return (point.generator_cpu_s_per_1000 or 0.0) * point.rate_reached_per_s / 1000
