"""A worker process of the load generator: ``python -m sardonyx_server.load.worker``, started by worker_pool.py.

It exchanges JSON lines with the pool over standard input and output. The first line names the target; each further line
starts a run. The worker answers that it is connected, then with the progress and the result of each run. It exits at
the end of its input, even during a run. A module that sends something other than gRPC calls :func:`run_worker`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.connections import Interrupted
from sardonyx_server.load.counters import RunCounters
from sardonyx_server.load.loops import ClosedLoop, LoadGeneratorError, OpenLoop, Target
from sardonyx_server.load.sender import TICK_NS, Sender, over_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_messages", "run_worker", "write_messages"]

_NS_PER_S: Final = 1_000_000_000
_LENGTH: Final = struct.Struct("<Q")


def write_messages(path: Path, messages: tuple[bytes, ...]) -> None:
    """Write messages to a file, each prefixed with its length."""
    with path.open("wb") as file:
        for message in messages:
            file.write(_LENGTH.pack(len(message)))
            file.write(message)


def read_messages(path: Path) -> tuple[bytes, ...]:
    """The inverse of :func:`write_messages`."""
    data, position, messages = path.read_bytes(), 0, []
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        messages.append(data[position : position + length])
        position += length
    return tuple(messages)


def run_worker(make: Callable[..., Sender]) -> None:
    """Serve the pool until the input ends: the main function of the process.

    Args:
        make: Makes the sender for a :class:`Target`, with the keywords of :func:`over_grpc`.
    """
    # Ctrl-C goes to the pool, which stops its workers by closing their input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that output of native code does not mix with the answers
    _reduce_timer_slack()

    def send(answer: dict[str, Any]) -> None:
        output.write(json.dumps(answer) + "\n")
        output.flush()

    with suppress(Interrupted, BrokenPipeError):
        _serve_pool(make, send)


def _serve_pool(make: Callable[..., Sender], send: Callable[[dict[str, Any]], None]) -> None:
    """Process commands until the input ends.

    Raises:
        Interrupted: The input ended during a run.
    """
    job = json.loads(sys.stdin.readline())
    try:
        sender = make(
            _target(job),
            connections=job["connections"],
            worker_index=job["worker_index"],
            worker_count=job["worker_count"],
            # The pool sends nothing during a run, so a readable input then means its end.
            interrupt=sys.stdin.fileno(),
        )
        sender.connect()
    except LoadGeneratorError as problem:
        send({"problem": str(problem)})
        return
    send({"connected": job["connections"]})
    gc.collect()
    gc.freeze()  # spares collections during a run from scanning these objects
    for line in iter(sys.stdin.readline, ""):
        _run(sender, json.loads(line), send)


def _run(sender: Sender, run: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
    start_ns, duration_s = run["start_ns"], run["duration_s"]
    counters = RunCounters(start_ns + round(duration_s * _NS_PER_S))
    tick = _progress_reporter(counters, send) if run["ticks"] else None
    cpu_s = time.process_time()
    if "open" in run:
        load = OpenLoop(**run["open"] | {"arrivals": Arrivals(run["open"]["arrivals"])})
        sender.open_loop(load, counters, start_ns=start_ns, duration_s=duration_s, tick=tick)
    else:
        closed = ClosedLoop(**run["closed"])
        sender.closed_loop(closed, counters, start_ns=start_ns, duration_s=duration_s, tick=tick)
    cpu_s = time.process_time() - cpu_s
    send({"done": counters.totals() | {"cpu_s": cpu_s}})


def _progress_reporter(counters: RunCounters, send: Callable[[dict[str, Any]], None]) -> Callable[[int], None]:
    """Returns a callback that reports progress four times a second."""
    next_ns = time.monotonic_ns() + TICK_NS

    def tick(now_ns: int) -> None:
        nonlocal next_ns
        if now_ns >= next_ns:
            next_ns = now_ns + TICK_NS
            send({"progress": counters.progress()})

    return tick


def _reduce_timer_slack() -> None:
    """Linux extends each wait by up to 50 us to save wake-ups (timer slack). Other systems have no such file."""
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")


def _target(job: dict[str, Any]) -> Target:
    return Target(
        address=job["address"],
        method=job["method"],
        messages=read_messages(Path(job["messages"])),
        answer_bytes=job["answer_bytes"],
        timeout_s=job["timeout_s"],
        metadata=tuple((name, value) for name, value in job["metadata"]),
    )


if __name__ == "__main__":
    run_worker(over_grpc)
