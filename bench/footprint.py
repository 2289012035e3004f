"""Bars of the server's process: memory, idle CPU, time to ready. Runs ``sardonyx serve models``, as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.arms import answer_for
from bench.bars import Bar, Outcome
from bench.cases import METHOD, make
from bench.control import ROOT, ChildFailed
from bench.load.result import Load, Target
from bench.throughput import Plan

__all__ = ["IDLE", "MEMORY", "READY", "Running", "field_mb", "footprint", "idle_percent", "started"]

MEMORY: Final = Bar(name="memory with the sample models", target=150, at_least=False, unit="MB")
IDLE: Final = Bar(name="idle CPU, of one core", target=1.0, at_least=False, unit="%")
READY: Final = Bar(name="process start to ready", target=2.0, at_least=False, unit="s")

_COMMAND: Final = (sys.executable, "-m", "sardonyx_server.cli", "serve", "models")
_FLAGS: Final = ("--grpc-port", "0", "--metrics-port", "0", "--log-format", "json")
_MB: Final = 1e6
_KIB: Final = 1024
_NS: Final = 1e9
_STOP_TIMEOUT_S: Final = 20.0
# What the start leaves behind (page cache, first collections) is not idleness.
_SETTLE_S: Final = 1.0
_LEAST_STARTS: Final = 2
_LOAD_REQUESTS: Final = 6400
# Idle time for each second of a turn: 10 s in a full run.
_IDLE_SHARE: Final = 10 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is ready.

    Attributes:
        pid: Of its process.
        address: Where it listens.
        ready_s: From before the process was made until it said that it serves.
    """

    pid: int
    address: str
    ready_s: float


def footprint(plan: Plan) -> list[Outcome]:
    """Start the server several times; look at it idle, after a load, and at how long it took."""
    if not Path("/proc/self/smaps_rollup").exists():
        return [Outcome(bar=bar, values=(), remark="needs Linux's /proc") for bar in (MEMORY, IDLE, READY)]
    with started():
        pass  # The first start fills caches: the bar is about a second one.
    case = make("iris", plan.folder)
    ready_s, resident_mb, share_mb, loaded_mb, idle = [], [], [], [], []
    for _ in range(max(_LEAST_STARTS, plan.turns // 2)):
        with started() as running:
            ready_s.append(running.ready_s)
            answer = answer_for(running.address, case.request)  # Ready means: it answers.
            time.sleep(_SETTLE_S)
            resident_mb.append(field_mb(running.pid, "status", "VmRSS"))
            share_mb.append(field_mb(running.pid, "smaps_rollup", "Pss"))
            idle.append(idle_percent(running.pid, plan.seconds * _IDLE_SHARE))
            target = Target(address=running.address, method=METHOD, request=case.request, answer_bytes=len(answer))
            plan.generator.run(target, Load(connections=8, streams=8), requests=_LOAD_REQUESTS, each=False)
            loaded_mb.append(field_mb(running.pid, "status", "VmRSS"))
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


@contextmanager
def started() -> Iterator[Running]:
    """``sardonyx serve models``, once it is ready.

    Raises:
        ChildFailed: It ended before that.
    """
    began_s = time.monotonic()
    process = subprocess.Popen([*_COMMAND, *_FLAGS], cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ours
    try:
        for line in process.stdout or ():
            event = json.loads(line)
            if event.get("event") == "serving":
                break
        else:
            raise ChildFailed(f"sardonyx serve: ended with status {process.wait()} before it was ready")
        yield Running(pid=process.pid, address=event["address"], ready_s=time.monotonic() - began_s)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def field_mb(pid: int, file: str, key: str) -> float:
    """A line such as ``VmRSS:  123456 kB`` of a file in /proc; the kernel's kB are KiB."""
    for line in Path("/proc", str(pid), file).read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * _KIB / _MB
    raise ValueError(f"/proc/{pid}/{file} has no line {key!r}")


def idle_percent(pid: int, seconds: float) -> float:
    """CPU time of a process over some time, as a share of a core. Blocks."""
    before_s, began_s = _cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (_cpu_s(pid) - before_s) / (time.monotonic() - began_s)


def _cpu_s(pid: int) -> float:
    """CPU seconds of the threads that live, in nanoseconds of the scheduler: ticks of 10 ms would be too coarse."""
    files = Path("/proc", str(pid), "task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / _NS
