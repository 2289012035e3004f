"""A running server, and what it does and costs, read from outside. Sends no load.

CPU time and memory are those of its whole process tree, from Linux's /proc. Batch sizes and times by stage come from
ModelStatistics, so that an earlier commit and other servers of the protocol are read in the same way.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import grpc

from bench.control import ROOT, child
from bench.processes import cpu_s, forget_peak, memory_bytes, tree
from sardonyx_server.load.loops import LoadGeneratorError
from sardonyx_wire.messages import METHODS, ModelStatisticsRequest, ModelStatisticsResponse

__all__ = ["Figures", "Server", "bare_echo", "grown", "serving"]

_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Cumulative figures of a server. The difference of two readings belongs to the time between them.

    Attributes:
        cpu_s: CPU seconds of its processes.
        requests: Answered with outputs.
        runs: Rows -> number of runs with so many rows; empty if the server has no statistics.
        run_ns: Rows -> total time of those runs; empty likewise.
        stages_ns: Stage -> total time of all requests; empty likewise.
    """

    cpu_s: float
    requests: int = 0
    runs: Mapping[int, int] = field(default_factory=dict)
    run_ns: Mapping[int, int] = field(default_factory=dict)
    stages_ns: Mapping[str, int] = field(default_factory=dict)

    def since(self, before: Figures) -> Figures:
        """The difference to an earlier reading of the same server."""
        runs = {rows: count - before.runs.get(rows, 0) for rows, count in self.runs.items()}
        return Figures(
            cpu_s=self.cpu_s - before.cpu_s,
            requests=self.requests - before.requests,
            runs={rows: count for rows, count in runs.items() if count},
            run_ns={rows: self.run_ns[rows] - before.run_ns.get(rows, 0) for rows in self.run_ns if runs.get(rows)},
            stages_ns={name: ns - before.stages_ns.get(name, 0) for name, ns in self.stages_ns.items()},
        )

    @property
    def rows(self) -> int:
        """Rows of all runs."""
        return sum(rows * count for rows, count in self.runs.items())

    @property
    def mean_rows(self) -> float | None:
        """Mean rows of a run; None if unknown."""
        runs = sum(self.runs.values())
        return self.rows / runs if runs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        address: Host and port.
        pid: Root of its process tree.
        facts: Model -> how the server set it up (runners, threads, max_rows); empty if unknown.
        metrics_url: URL of its metrics; "" = off.
    """

    address: str
    pid: int
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics_url: str = ""

    def figures(self, model: str = "") -> Figures:
        """Its figures so far, and statistics of a model if one is given. Without statistics there is only CPU time."""
        used_s = sum(cpu_s(pid) for pid in self.tree())
        return _with_statistics(self.address, model, used_s) if model else Figures(cpu_s=used_s)

    def forget_peak(self) -> None:
        """Reset :meth:`peak_memory_bytes` to the current resident memory."""
        for pid in self.tree():
            forget_peak(pid)

    def peak_memory_bytes(self) -> int:
        """Peak resident memory, summed over its processes; shared pages count for each."""
        return sum(memory_bytes(pid, "VmHWM") for pid in self.tree())

    def memory_bytes(self) -> int:
        """Resident memory now, likewise."""
        return sum(memory_bytes(pid) for pid in self.tree())

    def tree(self) -> list[int]:
        """Ids of its processes: the root and its living descendants."""
        return tree(self.pid)


@contextmanager
def serving(
    repository: Path, *, checkout: Path = ROOT, settings: Mapping[str, object] = MappingProxyType({})
) -> Iterator[Server]:
    """A Sardonyx in a process of its own, stopped at the end.

    Args:
        repository: Folder of models.
        checkout: Root of the copy of the project whose sources it runs.
        settings: Server settings by name.

    Raises:
        ChildFailed: It did not start.
    """
    arguments = [str(repository.resolve()), *(["--settings", json.dumps(dict(settings))] if settings else [])]
    with child("bench.serve", arguments, root=checkout) as process:
        hello = process.hello
        yield Server(
            address=process.address,
            pid=process.pid,
            facts=hello.get("models", {}),
            metrics_url=hello.get("metrics_url") or "",
        )


@contextmanager
def bare_echo(answer_bytes: int | None) -> Iterator[Server]:
    """Start a bare echo on gRPC's core that responds with so many bytes; None = with the message itself.

    Raises:
        ChildFailed: It did not start.
    """
    arguments = [] if answer_bytes is None else ["--answer-bytes", str(answer_bytes)]
    with child("bench.limits.echo", arguments) as process:
        yield Server(address=process.address, pid=process.pid)


def grown(server: Server, model: str, before: Figures, *, rows: int) -> Figures:
    """By how much a server's figures grew while ``rows`` rows were sent.

    Raises:
        LoadGeneratorError: A Sardonyx server ran another number of rows.
    """
    found = server.figures(model).since(before)
    if model in server.facts and found.rows != rows:
        raise LoadGeneratorError(f"{model!r} at {server.address}: {rows} rows were sent and {found.rows} were run")
    return found


def _with_statistics(address: str, model: str, used_s: float) -> Figures:
    request = ModelStatisticsRequest(name=model).SerializeToString()
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHODS["ModelStatistics"].path)
        try:
            answer = ModelStatisticsResponse.FromString(call(request, timeout=_TIMEOUT_S))
        except grpc.RpcError:
            return Figures(cpu_s=used_s)  # An echo, or a server without the extension.
    requests, stages_ns = 0, defaultdict[str, int](int)
    runs, run_ns = defaultdict[int, int](int), defaultdict[int, int](int)
    for one in answer.model_stats:
        stats = one.inference_stats
        requests += stats.success.count
        known = {
            "queue": stats.queue.ns,
            "gather": stats.compute_input.ns,
            "run": stats.compute_infer.ns,
            "encode": stats.compute_output.ns,
        }
        # What is left of a request's time in the server: reading it, before it waits.
        known["decode"] = max(0, stats.success.ns - sum(known.values()))
        for name, ns in known.items():
            stages_ns[name] += ns
        for batch in one.batch_stats:
            runs[batch.batch_size] += batch.compute_infer.count
            run_ns[batch.batch_size] += batch.compute_infer.ns
    return Figures(cpu_s=used_s, requests=requests, runs=dict(runs), run_ns=dict(run_ns), stages_ns=dict(stages_ns))
