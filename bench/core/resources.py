"""Bars of the server process: memory, idle CPU, startup time. Runs ``sardonyx serve models``, as a user does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bench.arms import fetch_answer
from bench.bars import Bar, Outcome
from bench.cases import METHOD, make
from bench.load.result import Streams
from bench.processes import idle_percent, memory_bytes
from bench.sample_server import started
from bench.testbed import Plan
from sardonyx_server.load.loops import Target

__all__ = ["IDLE", "MEMORY", "READY", "resources"]

MEMORY: Final = Bar(name="memory with the sample models", target=150, at_least=False, unit="MB")
IDLE: Final = Bar(name="idle CPU, of one core", target=1.0, at_least=False, unit="%")
READY: Final = Bar(name="process start to ready", target=2.0, at_least=False, unit="s")

_MB: Final = 1e6
# After the start the process is not idle yet (page cache, first garbage collections).
_SETTLE_S: Final = 1.0
# With fewer, the confidence interval is meaningless.
_LEAST_STARTS: Final = 5
_LOAD_REQUESTS: Final = 6400
# Idle time for each second of a turn: 10 s in a full run.
_IDLE_SHARE: Final = 10 / 3


def resources(plan: Plan) -> list[Outcome]:
    """Start the server several times; measure its startup, and its memory idle and after a load."""
    if not Path("/proc/self/smaps_rollup").exists():
        return [Outcome(bar=bar, values=(), remark="needs Linux's /proc") for bar in (MEMORY, IDLE, READY)]
    with started():
        pass  # The first start fills caches: the bar is about a second one.
    case = make("iris", plan.folder)
    ready_s, resident_mb, share_mb, loaded_mb, idle = [], [], [], [], []
    for _ in range(max(_LEAST_STARTS, plan.turns // 2)):
        with started() as running:
            ready_s.append(running.ready_s)
            answer = fetch_answer(running.address, case.request)  # Ready means: it answers.
            time.sleep(_SETTLE_S)
            resident_mb.append(memory_bytes(running.pid) / _MB)
            share_mb.append(memory_bytes(running.pid, "Pss", file="smaps_rollup") / _MB)
            idle.append(idle_percent(running.pid, plan.seconds * _IDLE_SHARE))
            target = Target(address=running.address, method=METHOD, messages=(case.request,), answer_bytes=len(answer))
            plan.generator.run(target, Streams(connections=8, streams=8), requests=_LOAD_REQUESTS, record_each=False)
            loaded_mb.append(memory_bytes(running.pid) / _MB)
    command = "sardonyx serve models"
    return [
        Outcome(
            bar=MEMORY,
            values=loaded_mb,
            remark=f"VmRSS after {_LOAD_REQUESTS} requests to iris; before them {max(resident_mb):.0f} MB (PSS "
            f"{max(share_mb):.0f} MB)",
            details={"command": command, "idle_rss_mb": resident_mb, "idle_pss_mb": share_mb},
        ),
        Outcome(bar=IDLE, values=idle, remark="no connection open", details={"command": command}),
        Outcome(
            bar=READY, values=ready_s, remark="interpreter, imports, loading and probing", details={"command": command}
        ),
    ]
