"""Latency of single requests: no queue, no batch, no other caller."""

from __future__ import annotations

from bench.load.result import Generator
from bench.suite.closed_loop import closed
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder
from bench.suite.plan import Plan

_MS = 1e3


def test_latency_of_one_request_at_a_time(
    deployed: Deployment, generator: Generator, plan: Plan, record: Recorder
) -> None:
    """How long does a request take when nobody else asks?"""

    def run() -> Findings:
        name, request, size = deployed.case.name, deployed.case.request, deployed.answer_bytes
        point = closed(generator, deployed.server, request, size, callers=1, seconds=plan.rate_s, model=name)
        echo = closed(generator, deployed.echo, request, size, callers=1, seconds=plan.rate_s)
        run_ms = min(way.run_s[1] for way in deployed.in_process_costs) * _MS
        floor_ms = echo.mean_ms + run_ms
        return Findings(
            points=[point],
            figures={"echo_mean_ms": echo.mean_ms, "run_ms": run_ms, "of_floor": point.mean_ms / floor_ms},
            remarks=[
                f"mean {point.mean_ms:.3f} ms; a bare echo {echo.mean_ms:.3f} ms and a run in-process {run_ms:.3f} ms",
                f"closed loop by {generator.name}",
            ],
        )

    record("single", run)
