"""One sending process of a fleet: ``python -m sardonyx_server.load.worker``. fleet.py starts it and speaks with it.

Another module can be that process, too, and send something else than gRPC: it calls :func:`work`.

A line of JSON says what to connect to; each further line is one run. It answers with lines of JSON: that it is
connected, how far a run is, what came of it. It ends when its input ends, also in the middle of a run.
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
from sardonyx_server.load.lines import Interrupted
from sardonyx_server.load.loops import ClosedLoop, LoadFailed, OpenLoop, Target
from sardonyx_server.load.sender import TICK_NS, Sender, over_grpc
from sardonyx_server.load.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_messages", "work", "write_messages"]

_NS_PER_S: Final = 1_000_000_000
_LENGTH: Final = struct.Struct("<Q")


def write_messages(path: Path, messages: tuple[bytes, ...]) -> None:
    """Put messages into a file: each after its length."""
    with path.open("wb") as file:
        for message in messages:
            file.write(_LENGTH.pack(len(message)))
            file.write(message)


def read_messages(path: Path) -> tuple[bytes, ...]:
    """The counterpart of :func:`write_messages`."""
    data, position, messages = path.read_bytes(), 0, []
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        messages.append(data[position : position + length])
        position += length
    return tuple(messages)


def work(make: Callable[..., Sender]) -> None:
    """Serve the fleet until the input ends: the whole of a process.

    Args:
        make: The sender of a :class:`Target`; the keywords are those of :func:`over_grpc`.
    """
    # Ctrl-C is for the fleet, which ends its processes by ending their input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever native code prints is no answer
    _wake_punctually()

    def say(answer: dict[str, Any]) -> None:
        output.write(json.dumps(answer) + "\n")
        output.flush()

    with suppress(Interrupted, BrokenPipeError):
        _obey(make, say)


def _obey(make: Callable[..., Sender], say: Callable[[dict[str, Any]], None]) -> None:
    """Answer lines until they end.

    Raises:
        Interrupted: They ended in the middle of a run.
    """
    job = json.loads(sys.stdin.readline())
    try:
        sender = make(
            _target(job),
            connections=job["connections"],
            share=job["share"],
            shares=job["shares"],
            # In the middle of a run nothing is said to it, so then this is its end.
            interrupt=sys.stdin.fileno(),
        )
        sender.connect()
    except LoadFailed as problem:
        say({"problem": str(problem)})
        return
    say({"connected": job["connections"]})
    gc.collect()
    gc.freeze()  # what is there now need not be looked through in the middle of a run
    for line in iter(sys.stdin.readline, ""):
        _run(sender, json.loads(line), say)


def _run(sender: Sender, run: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    start_ns, duration_s = run["start_ns"], run["duration_s"]
    tally = Tally(start_ns + round(duration_s * _NS_PER_S))
    tick = _ticking(tally, say) if run["ticks"] else None
    cpu_s = time.process_time()
    if "open" in run:
        load = OpenLoop(**run["open"] | {"arrivals": Arrivals(run["open"]["arrivals"])})
        sender.open_loop(load, tally, start_ns=start_ns, duration_s=duration_s, tick=tick)
    else:
        closed = ClosedLoop(**run["closed"])
        sender.closed_loop(closed, tally, start_ns=start_ns, duration_s=duration_s, tick=tick)
    cpu_s = time.process_time() - cpu_s
    say({"done": tally.whole() | {"cpu_s": cpu_s}})


def _ticking(tally: Tally, say: Callable[[dict[str, Any]], None]) -> Callable[[int], None]:
    """What tells, four times a second, how far a run is."""
    next_ns = time.monotonic_ns() + TICK_NS

    def tick(now_ns: int) -> None:
        nonlocal next_ns
        if now_ns >= next_ns:
            next_ns = now_ns + TICK_NS
            say({"so_far": tally.so_far()})

    return tick


def _wake_punctually() -> None:
    """Linux lets a wait last 50 us longer than asked for, to wake up less often. Elsewhere there is no such file."""
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")


def _target(job: dict[str, Any]) -> Target:
    return Target(
        address=job["address"],
        method=job["method"],
        messages=read_messages(Path(job["messages"])),
        answer_bytes=job["answer_bytes"],
        timeout_s=job["timeout_s"],
    )


if __name__ == "__main__":
    work(over_grpc)
