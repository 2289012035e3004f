"""Latency of single requests: no queue, no batch, no other caller."""

from __future__ import annotations

from bench.load.result import Generator
from bench.suite.closed_loop import closed
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder
from bench.suite.plan import Plan

_MS = 1e3


def test_latency_of_one_request_at_a_time(serve: Deployment, by: Generator, plan: Plan, ask: Recorder) -> None:
    """How long does a request take when nobody else asks?"""

    def run() -> Findings:
        name, request, size = serve.case.name, serve.case.request, serve.answer_bytes
        point = closed(by, serve.server, request, size, callers=1, seconds=plan.rate_s, model=name)
        echo = closed(by, serve.echo, request, size, callers=1, seconds=plan.rate_s)
        run_ms = min(way.run_s[1] for way in serve.in_process_costs) * _MS
        floor_ms = echo.mean_ms + run_ms
        return Findings(
            points=[point],
            figures={"echo_mean_ms": echo.mean_ms, "run_ms": run_ms, "of_floor": point.mean_ms / floor_ms},
            remarks=[
                f"mean {point.mean_ms:.3f} ms; a bare echo {echo.mean_ms:.3f} ms and a run in-process {run_ms:.3f} ms",
                f"closed loop by {by.name}",
            ],
        )

    ask("single", run)
