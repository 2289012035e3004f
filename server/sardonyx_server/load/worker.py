"""One sending process of a fleet: ``python -m sardonyx_server.load.worker``. fleet.py starts it and speaks with it.

A line of JSON says what to connect to; each further line is one run. It answers with lines of JSON: that it is
connected, how far a run is, what came of it. It ends when its input ends, also in the middle of a run.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import selectors
import signal
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target
from sardonyx_server.load.sender import Sender
from sardonyx_server.load.tally import Tally

__all__ = ["read_messages", "write_messages"]

_TICK_S: Final = 0.25
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


def main() -> None:
    """Serve the fleet until the input ends."""
    # Ctrl-C is for the fleet, which ends its processes by ending their input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever native code prints is no answer

    # select() takes microseconds; epoll, the default, rounds every wait up to whole milliseconds.
    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with suppress(asyncio.CancelledError, BrokenPipeError), asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_obey(output))


async def _obey(output: Any) -> None:
    """Answer lines until this task is cancelled, at the end of the input."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    _listen(lines)

    def say(answer: dict[str, Any]) -> None:
        output.write(json.dumps(answer) + "\n")
        output.flush()

    job = json.loads(await lines.get())
    sender = Sender(_target(job), connections=job["connections"], share=job["share"], shares=job["shares"])
    try:
        await sender.connect()
    except TimeoutError:
        say({"problem": f"no connection to {job['address']} within 10 s"})
        return
    say({"connected": job["connections"]})
    gc.collect()
    gc.freeze()  # what is there now need not be looked through in the middle of a run
    while True:
        run = json.loads(await lines.get())
        await _run(sender, run, say)


async def _run(sender: Sender, run: dict[str, Any], say: Any) -> None:
    start_ns, duration_s = run["start_ns"], run["duration_s"]
    tally = Tally(start_ns + round(duration_s * _NS_PER_S))
    cpu_s = time.process_time()
    ticks = asyncio.create_task(_tell(tally, say)) if run["ticks"] else None
    if "open" in run:
        load = OpenLoop(**run["open"] | {"arrivals": Arrivals(run["open"]["arrivals"])})
        await sender.open_loop(load, tally, start_ns=start_ns, duration_s=duration_s)
    else:
        await sender.closed_loop(ClosedLoop(**run["closed"]), tally, start_ns=start_ns, duration_s=duration_s)
    cpu_s = time.process_time() - cpu_s
    if ticks is not None:
        ticks.cancel()
    say({"done": tally.whole() | {"cpu_s": cpu_s}})


async def _tell(tally: Tally, say: Any) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        say({"so_far": tally.so_far()})


def _listen(lines: asyncio.Queue[str]) -> None:
    """Put lines of the input into a queue; cancel the current task when they end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def read() -> None:
        with suppress(RuntimeError):  # The loop has ended before the input.
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

    threading.Thread(target=read, name="input", daemon=True).start()


def _target(job: dict[str, Any]) -> Target:
    return Target(
        address=job["address"],
        method=job["method"],
        messages=read_messages(Path(job["messages"])),
        answer_bytes=job["answer_bytes"],
        timeout_s=job["timeout_s"],
    )


if __name__ == "__main__":
    main()
