"""What this machine permits: the references that loads are compared with, in the same run."""

from __future__ import annotations

from typing import Final

from bench.limits.machine import copy_bytes_per_s, loopback_bytes_per_s
from bench.load.result import Generator
from bench.suite.asking import Ask, Found, bar
from bench.suite.closed import closed, cpu_s_of
from bench.suite.plan import Plan
from bench.suite.served import Served

_CALLERS: Final = 64
_OF_ECHO: Final = 0.85
_JUDGED: Final = "iris"


def test_rate_of_echo_and_of_onnxruntime(serve: Served, by: Generator, plan: Plan, ask: Ask) -> None:
    """How fast are the bare transport and the bare model?"""

    def run() -> Found:
        request, size = serve.case.request, serve.answer_bytes
        # In turns, so that the ratio of the two is not the machine's drift.
        rates: dict[str, list[float]] = {"echo": [], "server": []}
        cpu_s = 0.0
        for turn in ("echo", "server", "server", "echo"):
            which = serve.echo if turn == "echo" else serve.server
            point = closed(by, which, request, size, callers=_CALLERS, seconds=plan.rate_s / 2)
            rates[turn].append(point.rate_reached_per_s)
            cpu_s = cpu_s_of(point)  # The last is an echo.
        ratio = sum(rates["server"]) / sum(rates["echo"])
        best = serve.in_process
        return Found(
            figures={
                "echo_per_s": sum(rates["echo"]) / len(rates["echo"]),
                "echo_cpu_s_per_1000": cpu_s * 1000,
                "in_process_per_s": best.rate,
                "in_process_rows": float(best.best_rows),
                "in_process_runners": float(best.runners),
                "in_process_threads": float(best.threads),
                **{f"run_us_of_{rows}_rows": run_s * 1e6 for rows, run_s in best.run_s.items()},
                "of_echo": ratio,
                # A model whose run costs something is held to its allowance instead.
                **(bar(ratio, _OF_ECHO, at_least=True) if serve.case.name == _JUDGED else {}),
            },
            remarks=[f"echo: {_CALLERS} callers in a closed loop by {by.name}; it answers as many bytes as the server"],
        )

    ask("limits", run)


def test_bandwidth_of_memory_and_loopback(plan: Plan, ask: Ask) -> None:
    """How fast does this machine move bytes?"""

    def run() -> Found:
        return Found(
            figures={
                "copy_bytes_per_s": copy_bytes_per_s(plan.rate_s),
                "loopback_bytes_per_s": loopback_bytes_per_s(plan.rate_s),
            },
            remarks=["one thread; one connection"],
        )

    ask("limits", run)
