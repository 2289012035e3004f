"""Closed loops: how much is answered when callers wait for each other, against what the cores permit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.limits.allowance import ROW_SHARE, allowance
from bench.load.result import Generator
from bench.store import Point
from bench.suite.asking import Ask, Found, bar
from bench.suite.closed import closed, cpu_s_of
from bench.suite.plan import Plan
from bench.suite.served import Served
from sardonyx_server.runtime.cores import available_cores

_OF_ALLOWANCE: Final = 0.85


def test_rate_of_1_to_64_callers(
    serve: Served, by: Generator, plan: Plan, ask: Ask, say: Callable[[str], None]
) -> None:
    """How many requests a second are answered to callers that each wait for their answer?"""

    def measured(callers: int) -> Point:
        request, size = serve.case.request, serve.answer_bytes
        point = closed(by, serve.server, request, size, callers=callers, seconds=plan.rate_s, model=serve.case.name)
        echo = closed(by, serve.echo, request, size, callers=callers, seconds=plan.rate_s / 2)
        row_s = serve.rows.cpu_s(max(1.0, point.batch_rows_mean or 1.0), budget_s=plan.rate_s * ROW_SHARE / 2)
        point = replace(point, allowance_per_s=allowance(available_cores(), row_s, cpu_s_of(echo)))
        say(f"{callers} callers: {point.rate_reached_per_s:,.0f}/s, p99 {point.p99_ms:.2f} ms")
        return point

    def run() -> Found:
        points = [measured(callers) for callers in plan.callers]
        last = points[-1]
        ratio = last.rate_reached_per_s / (last.allowance_per_s or 1.0)
        return Found(
            points=points,
            figures={"best_per_s": max(point.rate_reached_per_s for point in points)}
            | bar(ratio, _OF_ALLOWANCE, at_least=True),
            remarks=[f"the bar is of the allowance of {plan.callers[-1]} callers", f"closed loops by {by.name}"],
        )

    ask("closed", run)
