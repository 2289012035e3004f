"""The server's process by itself: how soon it answers, and what it takes while nobody asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from bench.arms import fetch_answer
from bench.cases import make
from bench.load.result import Generator
from bench.processes import idle_percent
from bench.sample_server import started
from bench.serving import Server
from bench.suite.closed_loop import closed
from bench.suite.findings import Findings, Recorder
from bench.suite.plan import Plan

# What the start leaves behind (page cache, first collections) is not idleness.
_SETTLE_S: Final = 1.0
_CALLERS: Final = 64


def test_time_to_first_answer(plan: Plan, record: Recorder, folder: Callable[[], Path]) -> None:
    """How soon after its start does the server answer?"""

    def run() -> Findings:
        request = make("iris", folder()).request
        times_s = []
        for _ in range(plan.starts + 1):
            began_s = time.monotonic()
            with started() as running:
                fetch_answer(running.address, request)
                times_s.append(time.monotonic() - began_s)
        # The first start reads files that later ones find in memory.
        return Findings(
            figures={"first_answer_s": median(times_s[1:]), "first_of_all_s": times_s[0]},
            remarks=["sardonyx serve models, from before the process is made to the answer of iris"],
        )

    record("cold-start", run)


def test_cost_of_idling(generator: Generator, plan: Plan, record: Recorder, folder: Callable[[], Path]) -> None:
    """What does the server take while nobody asks?"""

    def run() -> Findings:
        request = make("iris", folder()).request
        with started() as running:
            server = Server(address=running.address, pid=running.pid)
            size = len(fetch_answer(server.address, request))
            closed(generator, server, request, size, callers=_CALLERS, seconds=plan.rate_s)
            time.sleep(_SETTLE_S)
            share = idle_percent(running.pid, plan.load_s) / 100
            return Findings(
                figures={"idle_cpu_share": share, "memory_bytes": float(server.memory_bytes())},
                remarks=["sardonyx serve models after a load on iris; of one core"],
            )

    record("idle", run)
