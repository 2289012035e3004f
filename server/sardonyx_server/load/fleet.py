"""Processes that send a load together, and the words spoken with them. Judges nothing.

Processes and connections last from one run to the next, so that no run pays for them.
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

from sardonyx_server.load.loops import LoadFailed, OpenLoop
from sardonyx_server.load.report import Progress, Report, latencies_of
from sardonyx_server.load.worker import write_messages
from sardonyx_server.runtime.cores import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sardonyx_server.load.loops import Load, Target

__all__ = ["FOREVER_S", "GRPC_WORKER", "Fleet", "processes_for"]

FOREVER_S: Final = 86_400.0
"""Duration of runs that end after a number of requests."""

GRPC_WORKER: Final = "sardonyx_server.load.worker"
"""Sends gRPC's unary calls over HTTP/2."""

# At this rate one of them takes half of a core (2026-11-26), which leaves it time to be punctual.
_RATE_OF_ONE: Final = 10_000.0
_MOST_PROCESSES: Final = 4
_STOP_TIMEOUT_S: Final = 5.0
_NS_PER_S: Final = 1_000_000_000
# From the word to start until the first request: every process must have read it by then.
_LEAD_NS: Final = 50_000_000


def processes_for(rate: float | None = None, *, cores: int | None = None) -> int:
    """How many processes to take where nobody says: at most 4, and half of the cores, which the server may need too.

    Args:
        rate: Requests a second that they are to send; None = as many as are answered.
        cores: Of the machine; None = those that this process may use.
    """
    most = max(1, min(_MOST_PROCESSES, (cores or available_cores()) // 2))
    return most if rate is None else min(most, math.ceil(rate / _RATE_OF_ONE))


class Fleet:
    """Processes with connections to one server. A context manager; runs follow one another.

    Args:
        target: What is sent where.
        processes: How many; not more than connections.
        connections: Of all together.
        worker: The module that a process runs: see worker.py.
    """

    def __init__(self, target: Target, *, processes: int, connections: int, worker: str = GRPC_WORKER) -> None:
        self._target = target
        self._worker = worker
        self._connections = connections
        self._shares = max(1, min(processes, connections))
        self._processes: list[subprocess.Popen[str]] = []
        # (index of the process, its line; None = it has ended)
        self._said: SimpleQueue[tuple[int, dict[str, Any] | None]] = SimpleQueue()
        self._folder = ExitStack()

    def __enter__(self) -> Self:
        """Start the processes and connect.

        Raises:
            LoadFailed: No connection within 10 s, or the address is none.
        """
        messages = Path(self._folder.enter_context(tempfile.TemporaryDirectory(prefix="sardonyx-load-")), "messages")
        write_messages(messages, self._target.messages)
        try:
            for share in range(self._shares):
                self._start(share)
                self._tell(
                    share,
                    {
                        "address": self._target.address,
                        "method": self._target.method,
                        "messages": str(messages),
                        "answer_bytes": self._target.answer_bytes,
                        "timeout_s": self._target.timeout_s,
                        "connections": _part(self._connections, self._shares, share),
                        "share": share,
                        "shares": self._shares,
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
        """End the processes, in the middle of a run too."""
        self.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [process.pid for process in self._processes]

    def run(
        self, load: Load, *, duration_s: float = FOREVER_S, on_progress: Callable[[Progress], None] | None = None
    ) -> Report:
        """Send a load. Blocks until every request is answered or has failed.

        Args:
            load: Of all processes together.
            duration_s: Nothing is sent after so long.
            on_progress: Told a few times a second how far it is; on this thread.

        Raises:
            LoadFailed: A process ended.
        """
        start_ns = time.monotonic_ns() + _LEAD_NS
        kind = "open" if isinstance(load, OpenLoop) else "closed"
        words = {
            "start_ns": start_ns,
            "duration_s": duration_s,
            "ticks": on_progress is not None,
            kind: asdict(load),
        }
        for share in range(self._shares):
            self._tell(share, words)

        def tick(parts: Sequence[dict[str, Any]]) -> None:
            if on_progress is not None:
                on_progress(_progress(parts, start_ns=start_ns, duration_s=duration_s))

        return Report.of(load, self._gather("done", tick), start_ns=start_ns, duration_s=duration_s)

    def close(self) -> None:
        """End the processes. Any number of times."""
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
        self._folder.close()

    def _start(self, share: int) -> None:
        process = subprocess.Popen(  # noqa: S603  # a module, not a word of a caller's
            [sys.executable, "-m", self._worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        threading.Thread(target=self._listen, args=(share, process), name=f"fleet-{share}", daemon=True).start()

    def _listen(self, share: int, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._said.put((share, json.loads(line)))
        self._said.put((share, None))

    def _tell(self, share: int, words: dict[str, Any]) -> None:
        pipe = self._processes[share].stdin
        if pipe is not None:
            with suppress(BrokenPipeError):  # that it has ended is heard in _gather
                pipe.write(json.dumps(words) + "\n")
                pipe.flush()

    def _gather(self, word: str, tick: Callable[[Sequence[dict[str, Any]]], None] | None = None) -> list[Any]:
        """Wait until every process has said ``word``; what each says with it, in their order."""
        found: dict[int, Any] = {}
        so_far: dict[int, dict[str, Any]] = {}
        while len(found) < self._shares:
            share, answer = self._said.get()
            if answer is None:
                raise LoadFailed(f"sending process {share + 1} of {self._shares} ended early")
            if "problem" in answer:
                raise LoadFailed(answer["problem"])
            if word in answer:
                found[share] = answer[word]
            elif tick is not None:
                so_far[share] = answer["so_far"]
                tick(list(so_far.values()))
        return [found[share] for share in range(self._shares)]


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


def _part(whole: int, shares: int, share: int) -> int:
    return whole // shares + (share < whole % shares)
