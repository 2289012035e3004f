"""The life of a server process: start, serve, stop on a signal, hurry on the second.

    starting --Started--> serving --StopAsked--> stopping --Stopped--> end
        |                                           |  StopAsked: hurry
        `--StopAsked--> stopping                    `--Failed--> end with the error

    Lost, at any time: stop, and end with code 1

Events come through one inbox, from the thread that hears signals and from those that start and stop the server, so the
order of things is decided in one place. Knows no terminal and no engine.
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

from sardonyx_server.cli.exits import Exit

__all__ = ["Event", "Failed", "Inbox", "Lost", "Served", "Started", "StopAsked", "Stopped", "signals_into", "supervise"]

# What the last steps of a server that was told to drop everything may take before it is left alone.
_KILL_TIMEOUT_S = 5.0


class Served(Protocol):
    """What is supervised: ``app.App``, or a double of a test."""

    def start(self) -> None:
        """Binds and loads; returns when requests are answered. Blocks. May be interrupted by ``drain_and_stop``."""

    def drain_and_stop(self, timeout_s: float) -> bool:
        """Finishes what was accepted and stops; whether all was finished. Blocks. Callable while ``start`` runs."""

    def kill(self) -> None:
        """Drops what is in flight, so that ``drain_and_stop`` returns soon. Does not block."""


@dataclass(frozen=True, slots=True)
class Started:
    """``start`` returned."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A signal came."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """``drain_and_stop`` returned."""

    finished: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """``start`` or ``drain_and_stop`` raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Lost:
    """A part of the server that must never end has ended: whoever watches this process should start it again."""

    error: BaseException


Event = Started | StopAsked | Stopped | Failed | Lost
Inbox = queue.SimpleQueue[Event]


def supervise(  # noqa: C901  # the state machine above, one case for each arrow
    app: Served,
    inbox: Inbox,
    *,
    exit_timeout_s: float,
    on_started: Callable[[], Exit | None],
    on_stopping: Callable[[], None],
    on_stopped: Callable[[bool], None],
) -> Exit:
    """Runs the server until it has stopped. Blocks; called on the main thread, which signal handlers need.

    Args:
        app: Not started yet.
        inbox: Where signals arrive, and ``Lost`` from the server.
        exit_timeout_s: Longest wait for requests in flight.
        on_started: Called once requests are answered. A code means "stop, and end with this".
        on_stopping: Called when stopping begins.
        on_stopped: Called at the end, with whether everything accepted was finished.

    Raises:
        BaseException: Whatever ``start`` or ``drain_and_stop`` raised.
    """
    code = Exit.OK
    stopping = False

    def stop() -> None:
        inbox.put(Stopped(app.drain_and_stop(exit_timeout_s)))

    def start() -> None:
        app.start()
        inbox.put(Started())

    _in_thread("sardonyx-start", start, inbox)
    wait_s: float | None = None
    while True:
        try:
            event = inbox.get(timeout=wait_s)
        except queue.Empty:
            event = Stopped(finished=False)
        match event:
            case Started() if not stopping:
                outcome = on_started()
                if outcome is not None:
                    code = outcome
                    inbox.put(StopAsked())
            case Lost():
                code = Exit.UNEXPECTED
                if not stopping:
                    inbox.put(StopAsked())
            case StopAsked() if not stopping:
                stopping = True
                on_stopping()
                _in_thread("sardonyx-stop", stop, inbox)
            case StopAsked():
                app.kill()
                wait_s = _KILL_TIMEOUT_S
            case Stopped(finished):
                on_stopped(finished)
                return code
            case Failed(error):
                raise error
            case Started():
                pass  # it was told to stop while it started


@contextmanager
def signals_into(inbox: Inbox) -> Iterator[None]:
    """SIGTERM and SIGINT become events of the inbox; the old handlers come back afterwards. Main thread only.

    A Python handler runs when the main thread next runs Python. A main thread that sleeps in the inbox is woken only if
    the kernel gave the signal to that very thread, which it need not. The interpreter's wake-up descriptor is written
    by whichever thread got the signal, so a thread that reads it misses none.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # noqa: FBT003  # positional only

    def listen() -> None:
        while reading.recv(1):
            inbox.put(StopAsked())

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


def _in_thread(name: str, job: Callable[[], None], inbox: Inbox) -> None:
    def body() -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001  # raised again on the main thread
            inbox.put(Failed(error))

    threading.Thread(target=body, name=name, daemon=True).start()
