"""The worker processes that send a load together, and the JSON lines exchanged with them.

Processes and connections are kept from one run to the next, so that no run pays for their start.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Self

from sardonyx_server.load.loops import LoadGeneratorError, OpenLoop
from sardonyx_server.load.report import Progress, Report, latencies_of
from sardonyx_server.load.worker import write_messages
from sardonyx_server.runtime.cores import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sardonyx_server.load.loops import Load, Target

__all__ = ["FOREVER_S", "GRPC_WORKER", "WorkerPool", "default_processes"]

FOREVER_S: Final = 86_400.0
"""Duration of runs that end after a given number of requests."""

GRPC_WORKER: Final = "sardonyx_server.load.worker"
"""Module of the worker that sends unary gRPC calls."""

# At this rate one worker uses half a core (2026-11-26), which leaves it enough time to keep its schedule.
_RATE_PER_PROCESS: Final = 10_000.0
_MAX_PROCESSES: Final = 4
_STOP_TIMEOUT_S: Final = 5.0
_NS_PER_S: Final = 1_000_000_000
# Delay of the first request after the start command: every process must have read the command by then.
_START_DELAY_NS: Final = 50_000_000


def default_processes(rate: float | None = None, *, cores: int | None = None) -> int:
    """Default number of worker processes: at most 4, and at most half the cores, since the server may need the rest.

    Args:
        rate: Requests per second to send; None = as many as are answered.
        cores: Of the machine; None = those this process may use.
    """
    most = max(1, min(_MAX_PROCESSES, (cores or available_cores()) // 2))
    return most if rate is None else min(most, math.ceil(rate / _RATE_PER_PROCESS))


class WorkerPool:
    """Worker processes with connections to one server. A context manager; only one run at a time.

    Args:
        target: What is sent where.
        processes: Number of workers; limited to the number of connections.
        connections: Of all workers together.
        worker: Module that a process runs; see worker.py.
    """

    def __init__(self, target: Target, *, processes: int, connections: int, worker: str = GRPC_WORKER) -> None:
        self._target = target
        self._worker = worker
        self._connections = connections
        self._worker_count = max(1, min(processes, connections))
        self._processes: list[subprocess.Popen[str]] = []
        # (index of the worker, its message; None = it has exited)
        self._said: SimpleQueue[tuple[int, dict[str, Any] | None]] = SimpleQueue()
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """Start the processes and connect.

        Raises:
            LoadGeneratorError: Not connected within 10 s, or the address is invalid.
        """
        messages = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="sardonyx-load-")), "messages")
        write_messages(messages, self._target.messages)
        try:
            for worker_index in range(self._worker_count):
                self._start(worker_index)
                self._send(
                    worker_index,
                    {
                        "address": self._target.address,
                        "method": self._target.method,
                        "messages": str(messages),
                        "answer_bytes": self._target.answer_bytes,
                        "timeout_s": self._target.timeout_s,
                        "metadata": self._target.metadata,
                        "connections": _share(self._connections, self._worker_count, worker_index),
                        "worker_index": worker_index,
                        "worker_count": self._worker_count,
                    },
                )
            self._gather("connected")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the workers, even during a run."""
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [process.pid for process in self._processes]

    def run(
        self, load: Load, *, duration_s: float = FOREVER_S, on_progress: Callable[[Progress], None] | None = None
    ) -> Report:
        """Send a load. Blocks until every request is answered or has failed.

        Args:
            load: Of all workers together.
            duration_s: Nothing is sent after this time.
            on_progress: Called a few times a second, on this thread.

        Raises:
            LoadGeneratorError: A worker exited.
        """
        start_ns = time.monotonic_ns() + _START_DELAY_NS
        kind = "open" if isinstance(load, OpenLoop) else "closed"
        command = {
            "start_ns": start_ns,
            "duration_s": duration_s,
            "ticks": on_progress is not None,
            kind: asdict(load),
        }
        for worker_index in range(self._worker_count):
            self._send(worker_index, command)

        def tick(parts: Sequence[dict[str, Any]]) -> None:
            if on_progress is not None:
                on_progress(_progress(parts, start_ns=start_ns, duration_s=duration_s))

        return Report.of(load, self._gather("done", tick), start_ns=start_ns, duration_s=duration_s)

    def close(self) -> None:
        """Stop the workers. Idempotent."""
        processes, self._processes = self._processes, []
        for process in processes:
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        for process in processes:
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._cleanup.close()

    def _start(self, worker_index: int) -> None:
        process = subprocess.Popen(  # noqa: S603  # a module of ours, no user input
            [sys.executable, "-m", self._worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        threading.Thread(
            target=self._listen, args=(worker_index, process), name=f"load-worker-{worker_index}", daemon=True
        ).start()

    def _listen(self, worker_index: int, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._said.put((worker_index, json.loads(line)))
        self._said.put((worker_index, None))

    def _send(self, worker_index: int, command: dict[str, Any]) -> None:
        pipe = self._processes[worker_index].stdin
        if pipe is not None:
            with suppress(BrokenPipeError):  # _gather reports that it has exited
                pipe.write(json.dumps(command) + "\n")
                pipe.flush()

    def _gather(self, word: str, tick: Callable[[Sequence[dict[str, Any]]], None] | None = None) -> list[Any]:
        """Wait for a message with the key ``word`` from every worker; its values, in the order of the workers."""
        found: dict[int, Any] = {}
        so_far: dict[int, dict[str, Any]] = {}
        while len(found) < self._worker_count:
            worker_index, answer = self._said.get()
            if answer is None:
                raise LoadGeneratorError(f"sending process {worker_index + 1} of {self._worker_count} ended early")
            if "problem" in answer:
                raise LoadGeneratorError(answer["problem"])
            if word in answer:
                found[worker_index] = answer[word]
            elif tick is not None:
                so_far[worker_index] = answer["progress"]
                tick(list(so_far.values()))
        return [found[worker_index] for worker_index in range(self._worker_count)]


def _progress(parts: Sequence[dict[str, Any]], *, start_ns: int, duration_s: float) -> Progress:
    latencies = latencies_of(parts)
    return Progress(
        elapsed_s=(time.monotonic_ns() - start_ns) / _NS_PER_S,
        duration_s=duration_s,
        answered=latencies.count,
        failed=sum(sum(part["statuses"].values()) for part in parts),
        slip=sum(part["late"] for part in parts) / max(1, sum(part["sent"] for part in parts)),
        latencies=latencies,
    )


def _share(whole: int, worker_count: int, worker_index: int) -> int:
    return whole // worker_count + (worker_index < whole % worker_count)
