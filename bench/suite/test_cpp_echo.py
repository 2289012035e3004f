"""What gRPC gives in C++: a limit for servers in any language, beside the echo in Python."""

from __future__ import annotations

from typing import Final

import pytest

from bench.limits.cpp_echo.build import CppEchoMissing, build, cpp_echo
from bench.load.result import Generator
from bench.serving import Server
from bench.suite.closed_loop import closed
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder
from bench.suite.plan import Plan
from sardonyx_server.runtime.cores import available_cores

_CALLERS: Final = 64


@pytest.mark.of_models("iris", "orientation")
def test_rate_of_an_echo_in_cpp(deployed: Deployment, generator: Generator, plan: Plan, record: Recorder) -> None:
    """How fast is the bare transport in C++?"""
    try:
        build()
    except CppEchoMissing as missing:
        pytest.skip(str(missing))

    def run() -> Findings:
        request, size = deployed.case.request, deployed.answer_bytes
        rates = {}
        for threads in sorted({1, available_cores()}):
            with cpp_echo(answer_bytes=size, threads=threads) as echo:
                server = Server(address=echo.address, pid=echo.pid)
                point = closed(generator, server, request, size, callers=_CALLERS, seconds=plan.rate_s / 2)
                rates[threads] = point.rate_reached_per_s
        ours = closed(generator, deployed.server, request, size, callers=_CALLERS, seconds=plan.rate_s / 2)
        best = max(rates.values())
        return Findings(
            figures={"cpp_echo_per_s": best, "of_cpp_echo": ours.rate_reached_per_s / best},
            remarks=[f"with {threads} polling threads: {rate:,.0f}/s" for threads, rate in rates.items()],
        )

    record("limits", run)
