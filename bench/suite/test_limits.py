"""What this machine permits: the references that loads are compared with, in the same run."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Final

from bench.limits.bandwidth import copy_bytes_per_s, loopback_bytes_per_s
from bench.load.result import Generator
from bench.serving import Server
from bench.store import Point
from bench.suite.closed_loop import closed, cpu_s_of
from bench.suite.deployment import Deployment
from bench.suite.findings import Findings, Recorder, paired_bar
from bench.suite.plan import Plan
from bench.turns import in_turns

_CALLERS: Final = 64
_OF_ECHO: Final = 0.85
_JUDGED: Final = "iris"
_TURNS: Final = 2


def test_rate_of_echo_and_of_onnxruntime(
    deployed: Deployment, generator: Generator, plan: Plan, record: Recorder
) -> None:
    """How fast are the bare transport and the bare model?"""

    def run() -> Findings:
        request, size = deployed.case.request, deployed.answer_bytes

        def asked(server: Server, _turn: int) -> Point:
            return closed(generator, server, request, size, callers=_CALLERS, seconds=plan.rate_s / 2)

        # A model whose run costs something is held to its allowance instead, and two turns say what its echo is.
        is_judged = deployed.case.name == _JUDGED
        arms = {"echo": partial(asked, deployed.echo), "server": partial(asked, deployed.server)}
        turns = list(in_turns(arms, plan.turns if is_judged else _TURNS))
        echoes, ours = ([turn[name].rate_reached_per_s for turn in turns] for name in arms)
        best = deployed.best_in_process
        return Findings(
            figures={
                "echo_per_s": median(echoes),
                "echo_cpu_s_per_1000": median(cpu_s_of(turn["echo"]) for turn in turns) * 1000,
                "in_process_per_s": best.rate,
                "in_process_rows": float(best.best_rows),
                "in_process_runners": float(best.runners),
                "in_process_threads": float(best.threads),
                **{f"run_us_of_{rows}_rows": run_s * 1e6 for rows, run_s in best.run_s.items()},
                "of_echo": sum(ours) / sum(echoes),
                **(paired_bar(ours, echoes, _OF_ECHO, at_least=True) if is_judged else {}),
            },
            remarks=[
                f"echo: {_CALLERS} callers in a closed loop by {generator.name}; it answers as many bytes as the server"
            ],
        )

    record("limits", run)


def test_bandwidth_of_memory_and_loopback(plan: Plan, record: Recorder) -> None:
    """How fast does this machine move bytes?"""

    def run() -> Findings:
        return Findings(
            figures={
                "copy_bytes_per_s": copy_bytes_per_s(plan.rate_s),
                "loopback_bytes_per_s": loopback_bytes_per_s(plan.rate_s),
            },
            remarks=["one thread; one connection"],
        )

    record("limits", run)
