"""Load by the project's own generator, ``sardonyx_server.load``, for machines without h2load.

It takes four times the CPU of h2load, 10 us instead of 2.3 us a request (2026-11-26): if both share the server's cores,
rates are a little lower with it, and the report names it.
"""

from __future__ import annotations

from bench.load.result import LoadResult, Streams
from sardonyx_server.load.loops import ClosedLoop, LoadGeneratorError, Target
from sardonyx_server.load.worker_pool import WorkerPool

__all__ = ["BuiltinGenerator"]


class BuiltinGenerator:
    """Several processes, each with its share of the connections.

    Args:
        processes: Most processes.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self.name = "sardonyx_server.load"

    def run(self, target: Target, streams: Streams, *, requests: int, record_each: bool) -> LoadResult:
        """Send requests. See :class:`~bench.load.result.Generator`."""
        with WorkerPool(target, processes=self._processes, connections=streams.connections) as pool:
            report = pool.run(ClosedLoop(concurrency=streams.concurrency, requests=requests))
        if report.failed or report.answered != requests:
            raise LoadGeneratorError(
                f"{requests - report.answered} of {requests} requests failed: {dict(report.statuses)}"
            )
        return LoadResult(
            requests=requests,
            seconds=report.window_s,
            cpu_s=report.cpu_s,
            mean_s=report.latencies.mean_s,
            median_s=report.latencies.percentile_s(50) if record_each else None,
            p99_s=report.latencies.percentile_s(99) if record_each else None,
            histogram=report.latencies.encode() if record_each else "",
        )
