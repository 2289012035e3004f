"""Compares the C++ echo with Sardonyx: an upper bound for a server in another language whose models cost nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.arms import fetch_answer
from bench.cases import METHOD, make
from bench.limits.cpp_echo.build import cpp_echo
from bench.load.h2load import H2Load
from bench.peers.ab_comparison import CALLERS, Competitor, closed_loop
from bench.peers.compare import Plan
from bench.peers.verdict import Measure, Verdict
from bench.serving import Server, serving
from sardonyx_server.load.loops import Target
from sardonyx_server.runtime.cores import available_cores

__all__ = ["CPP_ECHO", "beside_cpp_echo", "cpp_echo_not_measured"]

CPP_ECHO: Final = "cpp-echo"
_QUESTION: Final = "test_rate_of_an_echo_in_another_language"
_WORDING: Final = f"answers a second, {CALLERS} callers; it only echoes"


def beside_cpp_echo(model: str, generator: H2Load, plan: Plan, folder: Path) -> Verdict:
    """Measure it: the same messages in, as many bytes out, no model.

    Args:
        model: Name of a case in ``bench/cases.py``.
        generator: The load generator.
        plan: Sample size.
        folder: Empty.

    Raises:
        CaseMissing: The package that ships the model is not installed.
        ChildFailed: A server did not start.
        CppEchoMissing: The echo cannot be built here.
        LoadGeneratorError: A load failed.
    """
    case = make(model, folder)
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository))
        answer_bytes = len(fetch_answer(server.address, case.request))

        def competitor(name: str, server: Server) -> Competitor:
            target = Target(address=server.address, method=METHOD, messages=(case.request,), answer_bytes=answer_bytes)
            return Competitor(name=name, server=server, target=target)

        ours = competitor("sardonyx", server)
        tried: dict[int, float] = {}
        for threads in sorted({1, available_cores()}):
            with cpp_echo(answer_bytes=answer_bytes, threads=threads) as echo:
                found = competitor(CPP_ECHO, Server(address=echo.address, pid=echo.pid))
                tried[threads] = found.in_closed_loop(generator, plan.seconds).rate_reached_per_s
        best = max(tried, key=lambda threads: tried[threads])
        echo = stack.enter_context(cpp_echo(answer_bytes=answer_bytes, threads=best))
        theirs = competitor(CPP_ECHO, Server(address=echo.address, pid=echo.pid))
        for contender_up in (ours, theirs):
            contender_up.in_closed_loop(generator, plan.seconds)  # Both are warm then.
        pairs = closed_loop(ours, theirs, generator, turns=plan.turns, seconds=plan.seconds)
        settings = "; ".join(f"{threads} polling threads: {rate:,.0f}/s" for threads, rate in tried.items())
        return Verdict(
            peer=CPP_ECHO,
            model=model,
            question=_QUESTION,
            wording=_WORDING,
            measure=Measure.THROUGHPUT,
            pairs=pairs,
            bar=None,
            remarks=[f"C++ echo of the message, {answer_bytes} bytes out, at its best of {len(tried)}: {settings}"],
            seed=plan.seed,
        )


def cpp_echo_not_measured(model: str, reason: str) -> Verdict:
    """The verdict if it could not be built or measured."""
    return Verdict(
        peer=CPP_ECHO,
        model=model,
        question=_QUESTION,
        wording=_WORDING,
        measure=Measure.THROUGHPUT,
        pairs=(),
        bar=None,
        remarks=[reason],
    )
