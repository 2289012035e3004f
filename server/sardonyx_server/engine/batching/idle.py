"""Runners that wait for something to do, and which of them is woken. Knows no queue.

Who is woken gets the core on which it fell asleep, on many a Linux: also where its waker still works there and another
core has nothing to do. With two cores, rows that must not mix and 2,000 requests a second, a core was idle for 0.45 s
of 1.5 while a thread of the server waited for the other one (2026-11-26).
"""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_CORE", "IdleRunners", "core_of_thread"]

NO_CORE: Final = -1
"""What :func:`core_of_thread` says where nobody knows."""


def _no_core() -> int:
    return NO_CORE


def _core_teller() -> Callable[[], int]:
    # Without letting go of the interpreter: it takes 0.1 us, and that would take more.
    teller = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None
    return _no_core if teller is None else teller


core_of_thread: Final = _core_teller()
"""The core that the calling thread is on at this moment; :data:`NO_CORE` where the system does not say."""


class IdleRunners:
    """A condition (:class:`threading.Condition`) that chooses whom it wakes.

    First those who fell asleep on another core than the one that wakes them: that one goes on with its work, and who is
    woken there would wait for it. Of several the last to fall asleep: its caches are the warmest. What
    waits is the same for all, so it does not matter who never gets a turn.

    Args:
        lock: Held by whoever calls a method.
        core: :func:`core_of_thread`.
    """

    __slots__ = ("_asleep", "_core", "_lock")

    def __init__(self, lock: threading.Lock, core: Callable[[], int] = core_of_thread) -> None:
        self._lock = lock
        self._core = core
        # With the core on which each was when it fell asleep, the last at the end.
        self._asleep: list[tuple[threading.Lock, int]] = []

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until woken, or for so long; None = without end. Lets go of the lock meanwhile."""
        alarm = threading.Lock()
        alarm.acquire()
        asleep = (alarm, self._core())
        self._asleep.append(asleep)
        self._lock.release()
        try:
            woken = alarm.acquire(timeout=-1 if timeout_s is None else timeout_s)
        finally:
            self._lock.acquire()
        # It may have been woken since its time was up.
        if not woken and asleep in self._asleep:
            self._asleep.remove(asleep)

    def wake(self, count: int) -> None:
        """Wake so many, or all where there are fewer. Never blocks."""
        asleep = self._asleep
        if not asleep or count <= 0:
            return
        here = self._core()
        while asleep and count > 0:
            elsewhere = (place for place in range(len(asleep) - 1, -1, -1) if asleep[place][1] != here)
            asleep.pop(next(elsewhere, -1))[0].release()
            count -= 1

    def wake_all(self) -> None:
        """Wake every one of them."""
        self.wake(len(self._asleep))
