"""Open loops: how long requests take that come whether or not those before have been answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.store import Load, Point
from bench.suite.asking import Ask, Found, bar
from bench.suite.measuring import aimed, measure
from bench.suite.plan import Plan
from bench.suite.served import Served, capacity_per_s
from bench.throughput import allowance
from sardonyx_server.load.arrivals import BURST_S
from sardonyx_server.runtime.cores import available_cores

_OF_FLOOR: Final = 1.25
_JUDGED_SHARE: Final = 0.7
_BURST_SHARE: Final = 0.3
# As many as two processes can send within a few milliseconds.
_BURST_REQUESTS: Final = 32
_BURST_PROCESSES: Final = 2


def test_p99_at_half_load(serve: Served, plan: Plan, ask: Ask, say: Callable[[str], None]) -> None:
    """How long do 99 of 100 requests take at most, at half of what the server can bear and at other rates?"""

    def run() -> Found:
        capacity = capacity_per_s(serve.target, plan).rate_reached_per_s
        say(f"capacity {capacity:,.0f}/s")
        points = []
        for share in plan.shares:
            load = Load(arrivals="poisson", rate_per_s=capacity * share, share_of_capacity=share)
            point = measure(serve.target, load, plan.load_s_at(capacity * share), plan.seed)
            points.append(_with_floor(serve, point, plan))
            say(_words(points[-1]))
        (judged,) = (point for point in points if point.load.share_of_capacity == _JUDGED_SHARE)
        return Found(
            points=points,
            figures={"capacity_per_s": capacity}
            | bar(judged.p99_ms / (judged.floor_p99_ms or 1.0), _OF_FLOOR, at_least=False),
            remarks=[
                "capacity: a closed loop of 64 callers by the same generator, which shares the cores",
                f"the bar is p99 at {_JUDGED_SHARE:.0%} of it / the floor there (bare echo and simulated greedy queue)",
            ],
        )

    ask("ladder", run)


def test_p99_under_bursts(serve: Served, plan: Plan, ask: Ask, say: Callable[[str], None]) -> None:
    """How long do 99 of 100 requests take at most when all of a tenth of a second come at once?"""

    def run() -> Found:
        capacity = capacity_per_s(serve.target, plan).rate_reached_per_s
        rate = min(capacity * _BURST_SHARE, _BURST_REQUESTS / BURST_S)
        load = Load(arrivals="burst", rate_per_s=rate, share_of_capacity=rate / capacity)
        with aimed(
            serve.server,
            [serve.case.request],
            model=serve.case.name,
            answer_bytes=serve.answer_bytes,
            processes=_BURST_PROCESSES,
        ) as target:
            point = _with_floor(serve, measure(target, load, plan.load_s, plan.seed), plan)
        say(_words(point))
        return Found(
            points=[point],
            figures={"capacity_per_s": capacity, "burst_requests": float(round(rate * BURST_S))},
            remarks=[f"bursts of {round(rate * BURST_S)}, sent within 10 ms by {_BURST_PROCESSES} processes"],
        )

    ask("bursts", run)


def _with_floor(serve: Served, point: Point, plan: Plan) -> Point:
    """A point of an open loop, with its floor and its allowance."""
    floor = serve.floor(point.load, plan.rate_s, plan.seed)
    row_s = serve.rows.cpu_s(max(1.0, point.batch_rows_mean or 1.0), budget_s=plan.limit_s / 10)
    return replace(
        point,
        floor_p99_ms=floor.p99_s * 1e3,
        floor_queue_p99_ms=floor.queue_p99_s * 1e3,
        allowance_per_s=allowance(available_cores(), row_s, floor.echo_cpu_s),
    )


def _words(point: Point) -> str:
    late = "" if point.valid else f"; discarded: {point.slip_share:.1%} of requests were sent late"
    return (
        f"{point.load.share_of_capacity:.0%}: {point.rate_reached_per_s:,.0f}/s, p50 {point.p50_ms:.2f}, "
        f"p99 {point.p99_ms:.2f}, floor {point.floor_p99_ms:.2f} ms{late}"
    )
