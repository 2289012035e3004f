"""Load by processes of the project's own, for machines without h2load.

Slower than h2load by an order of magnitude: it takes so much of the cores that a ratio reached with it says little, and
the report names it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import grpc

from bench.control import ROOT
from bench.load.result import Load, LoadFailed, LoadResult, Target

__all__ = ["Own"]

_P99: Final = 0.99


class Own:
    """Several processes with grpcio's public API, each with its share of the connections.

    Args:
        processes: At most so many.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self.name = f"bench.load.worker on grpcio {grpc.__version__}"

    def run(self, target: Target, load: Load, *, requests: int, each: bool) -> LoadResult:
        """Send requests. See :class:`~bench.load.result.Generator`."""
        count = min(self._processes, load.connections)
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            body = Path(folder, "body")
            body.write_bytes(target.request)
            workers = [
                stack.enter_context(
                    _worker(
                        {
                            "address": target.address,
                            "method": target.method,
                            "body": str(body),
                            "answer_bytes": target.answer_bytes,
                            "connections": _share(load.connections, count, index),
                            "streams": load.streams,
                            "requests": _share(requests, count, index),
                        }
                    )
                )
                for index in range(count)
            ]
            _read(workers)  # They are connected.
            for worker in workers:
                _tell(worker, "go")
            reports = _read(workers)
        latencies = sorted(latency for report in reports for latency in report["latencies_s"])
        result = LoadResult(
            requests=requests,
            seconds=max(report["end_s"] for report in reports) - min(report["start_s"] for report in reports),
            cpu_s=sum(report["cpu_s"] for report in reports),
            mean_s=fmean(latencies),
        )
        if not each:
            return result
        return LoadResult(
            **{
                **asdict(result),
                "median_s": median(latencies),
                "p99_s": latencies[int(_P99 * (len(latencies) - 1))],
            }
        )


def _share(whole: int, count: int, index: int) -> int:
    return whole // count + (index < whole % count)


def _worker(job: dict[str, object]) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "bench.load.worker"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    _tell(worker, json.dumps(job))
    return worker


def _tell(worker: subprocess.Popen[str], line: str) -> None:
    if worker.stdin is not None:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()


def _read(workers: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """A line from each worker; from all of them before any is judged, so that none writes to a closed pipe."""
    lines = [worker.stdout.readline() if worker.stdout is not None else "" for worker in workers]
    answers: list[dict[str, Any]] = [json.loads(line or '{"problem": "a worker ended early"}') for line in lines]
    for answer in answers:
        if "problem" in answer:
            raise LoadFailed(answer["problem"])
    return answers
