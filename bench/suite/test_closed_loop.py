"""Closed loops: the rate of several callers, compared with the allowance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bench.limits.allowance import ROW_SHARE, allowance
from bench.load.result import Generator
from bench.store import Point
from bench.suite.closed_loop import closed, cpu_s_of
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder, paired_bar
from bench.suite.plan import Plan
from bench.turns import in_turns
from sardonyx_server.runtime.cores import available_cores

_OF_ALLOWANCE: Final = 0.85


def test_rate_of_1_to_64_callers(
    deployed: Deployment, generator: Generator, plan: Plan, record: Recorder, say: Callable[[str], None]
) -> None:
    """How many requests a second are answered to callers that each wait for their answer?"""

    def measured(callers: int, turns: int) -> list[Point]:
        request, size, seconds = deployed.case.request, deployed.answer_bytes, plan.rate_s / min(2, turns)
        arms = {
            "server": lambda _: closed(
                generator, deployed.server, request, size, callers=callers, seconds=seconds, model=deployed.case.name
            ),
            "echo": lambda _: closed(generator, deployed.echo, request, size, callers=callers, seconds=plan.rate_s / 2),
        }
        points = []
        for turn in in_turns(arms, turns):
            point = turn["server"]
            row_s = deployed.reference.cpu_s(max(1.0, point.batch_rows_mean or 1.0), budget_s=seconds * ROW_SHARE / 2)
            most = allowance(available_cores(), row_s, cpu_s_of(turn["echo"]))
            points.append(replace(point, allowance_per_s=most))
            say(f"{callers} callers: {point.rate_reached_per_s:,.0f}/s, p99 {point.p99_ms:.2f} ms")
        return points

    def run() -> Findings:
        *fewer, most = plan.callers
        points = [point for callers in fewer for point in measured(callers, turns=1)]
        turns = measured(most, plan.turns)
        return Findings(
            points=[*points, *turns],
            figures={"best_per_s": max(point.rate_reached_per_s for point in (*points, *turns))}
            | paired_bar(
                [point.rate_reached_per_s for point in turns],
                [point.allowance_per_s or 0.0 for point in turns],
                _OF_ALLOWANCE,
                at_least=True,
            ),
            remarks=[
                f"the bar is of the allowance of {most} callers, in {len(turns)} turns",
                f"closed loops by {generator.name}",
            ],
        )

    record("closed", run)
