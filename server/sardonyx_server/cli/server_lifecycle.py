"""Lifecycle of the server process: start, serve, graceful stop on a signal, forced stop on the second signal.

    starting --Started--> serving --StopRequested--> stopping --Stopped--> end
        |                                               |  StopRequested: drop requests in flight
        `--StopRequested--> stopping                    `--Failed--> end with the error

    FatalError, at any time: stop, and end with code 1

The signal thread and the threads that start and stop the server put events into one queue, so that the order of
transitions is decided in one place.
"""

from __future__ import annotations

import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sardonyx_server.cli.exit_codes import ExitCode

__all__ = [
    "Event",
    "EventQueue",
    "Failed",
    "FatalError",
    "Server",
    "Started",
    "StopRequested",
    "Stopped",
    "forward_signals",
    "run_until_stopped",
]

# Longest wait for a forced stop before the process exits without it.
_KILL_TIMEOUT_S = 5.0


class Server(Protocol):
    """The server to run: ``app.App``, or a test double."""

    def start(self) -> None:
        """Binds ports and loads models; returns once requests are answered or the server is stopped. Blocks."""

    def drain_and_stop(self, timeout_s: float) -> bool:
        """Finishes accepted requests and stops; returns whether all finished. Blocks. Callable while ``start`` runs."""

    def kill(self) -> None:
        """Drops requests in flight, so that ``drain_and_stop`` returns soon. Does not block."""


@dataclass(frozen=True, slots=True)
class Started:
    """``start`` returned."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A signal was received."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """``drain_and_stop`` returned."""

    finished: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """``start`` or ``drain_and_stop`` raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class FatalError:
    """A vital thread of the server has died; the process exits, so that its service manager restarts it."""

    error: BaseException


Event = Started | StopRequested | Stopped | Failed | FatalError
EventQueue = queue.SimpleQueue[Event]


def run_until_stopped(  # noqa: C901  # the state machine above, one case per transition
    app: Server,
    events: EventQueue,
    *,
    exit_timeout_s: float,
    on_started: Callable[[], ExitCode | None],
    on_stopping: Callable[[], None],
    on_stopped: Callable[[bool], None],
) -> ExitCode:
    """Runs the server until it has stopped. Blocks. Must be called on the main thread, which receives signals.

    Args:
        app: Not started yet.
        events: Receives signals, and ``FatalError`` from the server.
        exit_timeout_s: Longest wait for requests in flight.
        on_started: Called once requests are answered. If it returns an exit code, the server stops with it.
        on_stopping: Called when stopping begins.
        on_stopped: Called at the end with whether all accepted requests finished.

    Raises:
        BaseException: Whatever ``start`` or ``drain_and_stop`` raised.
    """
    code = ExitCode.OK
    stopping = False

    def stop() -> None:
        events.put(Stopped(app.drain_and_stop(exit_timeout_s)))

    def start() -> None:
        app.start()
        events.put(Started())

    _in_thread("sardonyx-start", start, events)
    wait_s: float | None = None
    while True:
        try:
            event = events.get(timeout=wait_s)
        except queue.Empty:
            event = Stopped(finished=False)
        match event:
            case Started() if not stopping:
                outcome = on_started()
                if outcome is not None:
                    code = outcome
                    events.put(StopRequested())
            case FatalError():
                code = ExitCode.UNEXPECTED
                if not stopping:
                    events.put(StopRequested())
            case StopRequested() if not stopping:
                stopping = True
                on_stopping()
                _in_thread("sardonyx-stop", stop, events)
            case StopRequested():
                app.kill()
                wait_s = _KILL_TIMEOUT_S
            case Stopped(finished):
                on_stopped(finished)
                return code
            case Failed(error):
                raise error
            case Started():
                pass  # stopped while it was starting


@contextmanager
def forward_signals(events: EventQueue) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into ``StopRequested`` events; restores the old handlers afterwards. Main thread only.

    A Python signal handler runs when the main thread next executes bytecode. A main thread that is blocked in the queue
    is woken only if the kernel delivers the signal to that very thread, which is not guaranteed. The wake-up descriptor
    (``signal.set_wakeup_fd``) is written by whichever thread receives the signal: a thread that reads it misses none.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # noqa: FBT003  # positional only

    def listen() -> None:
        while reading.recv(1):
            events.put(StopRequested())

    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup_before = signal.set_wakeup_fd(writing.fileno())
    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, old in before.items():
            signal.signal(number, old)
        writing.close()
        listener.join()
        reading.close()


def _in_thread(name: str, job: Callable[[], None], events: EventQueue) -> None:
    def body() -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001  # raised again on the main thread
            events.put(Failed(error))

    threading.Thread(target=body, name=name, daemon=True).start()
