"""Open loops: how long requests take that come whether or not those before have been answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.limits.allowance import allowance
from bench.store import Load, Point
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder, bar
from bench.suite.floors import consistent_floors
from bench.suite.measuring import measure
from bench.suite.plan import Plan
from bench.suite.queue_replay import replayed_p99_s
from sardonyx_server.load.arrivals import BURST_S
from sardonyx_server.runtime.cores import available_cores

_OF_FLOOR: Final = 1.25
_JUDGED_SHARE: Final = 0.7
_JUDGED_RUNS: Final = 3
_BURST_SHARE: Final = 0.3
# As many as one process sends within a few milliseconds.
_BURST_REQUESTS: Final = 256


def test_p99_at_half_load(
    deployed: Deployment, capacity: float, plan: Plan, record: Recorder, say: Callable[[str], None]
) -> None:
    """How long do 99 of 100 requests take at most, at half of what the server can bear and at other rates?"""

    def run() -> Findings:
        points = []
        for share in plan.shares:
            load = Load(arrivals="poisson", rate_per_s=capacity * share, share_of_capacity=share)
            points.append(_with_floor(deployed, _median_run(deployed, load, plan), plan))
            if share == _JUDGED_SHARE:
                points[-1] = _with_real_queue(deployed, points[-1], plan)
            say(_words(points[-1]))
        points = consistent_floors(points)
        (judged,) = (point for point in points if point.load.share_of_capacity == _JUDGED_SHARE)
        return Findings(
            points=points,
            figures={"capacity_per_s": capacity} | _judged(judged),
            remarks=[
                "capacity: the highest rate answered as it comes, with the generator on the same cores",
                f"bar: p99 at {_JUDGED_SHARE:.0%}, the middle of {_JUDGED_RUNS} runs (quick: 1), / the floor there",
            ],
        )

    record("ladder", run)


def test_p99_under_bursts(
    deployed: Deployment, capacity: float, plan: Plan, record: Recorder, say: Callable[[str], None]
) -> None:
    """How long do 99 of 100 requests take at most when all of a tenth of a second come at once?"""

    def run() -> Findings:
        rate = min(capacity * _BURST_SHARE, _BURST_REQUESTS / BURST_S)
        load = Load(arrivals="burst", rate_per_s=rate, share_of_capacity=rate / capacity)
        point = _with_floor(deployed, measure(deployed.target, load, plan.load_s, plan.seed), plan)
        say(_words(point))
        return Findings(
            points=[point],
            figures={"capacity_per_s": capacity, "burst_requests": float(round(rate * BURST_S))},
            remarks=[f"bursts of {round(rate * BURST_S)}, sent within 10 ms"],
        )

    record("bursts", run)


def _median_run(deployed: Deployment, load: Load, plan: Plan) -> Point:
    """Measure a load: the median of several measurements by p99 if it is judged, otherwise once."""
    runs = _JUDGED_RUNS if load.share_of_capacity == _JUDGED_SHARE and not plan.quick else 1
    points = [
        measure(deployed.target, load, plan.load_s_at(load.rate_per_s or 1.0), plan.seed + run) for run in range(runs)
    ]
    valid = [point for point in points if point.valid] or points
    return sorted(valid, key=lambda point: point.p99_ms)[len(valid) // 2]


def _judged(point: Point) -> dict[str, float]:
    """Its bar, where it counts and the floor is known."""
    if point.floor_p99_ms is None:
        return {}
    return bar(point.p99_ms / point.floor_p99_ms, _OF_FLOOR, at_least=False, points=[point])


def _with_floor(deployed: Deployment, point: Point, plan: Plan) -> Point:
    """A point of an open loop, with its floor and its allowance."""
    floor = deployed.floor(point.load, plan.rate_s, plan.seed)
    row_s = deployed.reference.cpu_s(max(1.0, point.batch_rows_mean or 1.0), budget_s=plan.limit_s / 10)
    return replace(
        point,
        floor_p99_ms=None if floor.p99_s is None else floor.p99_s * 1e3,
        floor_queue_p99_ms=None if floor.queue_p99_s is None else floor.queue_p99_s * 1e3,
        allowance_per_s=allowance(available_cores(), row_s, floor.echo_cpu_s),
    )


def _with_real_queue(deployed: Deployment, point: Point, plan: Plan) -> Point:
    """With what such a queue comes to when it shares the cores as the server does, and with the server's own runs."""
    p99_s = deployed.greedy_queue_p99_s(point.load, plan.rate_s, plan.seed)
    own_s = replayed_p99_s(point, deployed.server.facts.get(deployed.case.name, {}))
    return replace(point, rehearsed_p99_ms=p99_s * 1e3, own_runs_p99_ms=None if own_s is None else own_s * 1e3)


def _words(point: Point) -> str:
    shown = "unknown" if point.floor_p99_ms is None else f"{point.floor_p99_ms:.2f} ms"
    if point.rehearsed_p99_ms is not None:
        shown += f", rehearsed {point.rehearsed_p99_ms:.2f} ms"
    if point.own_runs_p99_ms is not None and point.floor_queue_p99_ms is not None:
        shown += (
            f"; a queue alone {point.floor_queue_p99_ms:.2f}, with the server's runs {point.own_runs_p99_ms:.2f} ms"
        )
    late = "" if point.valid else f"; discarded: {point.slip_share:.1%} of requests were sent late"
    return (
        f"{point.load.share_of_capacity:.0%}: {point.rate_reached_per_s:,.0f}/s, p50 {point.p50_ms:.2f}, "
        f"p99 {point.p99_ms:.2f} ms, floor {shown}{late}"
    )
