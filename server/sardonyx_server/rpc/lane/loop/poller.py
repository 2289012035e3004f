"""Waits for sockets and for tasks of other threads. Polls (spins) for a short time before it sleeps."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_EVENTS", "Poller"]

MAX_EVENTS: Final = 256
"""That are taken at a time."""

# How long the thread looks for the next event before it sleeps, where pauses have been shorter than that: to wake up
# takes longer, and finds cold caches. A single caller that sends a request upon each answer pauses for some 80 us: with
# 60 us in place of 150, which never came to wait for it, a call took 123 us in place of 110 (2026-11-26).
_SPIN_S: Final = 150e-6
_LONG_PAUSE_S: Final = 1e-3
_PAUSE_GAIN: Final = 0.2
# Where requests are refused because too much waits, nothing is gained by a look at each as it comes: those of a nap are
# dealt with together, and so are the answers of runners. What that saves is the runners'. For so long after the last
# refusal. magika at five times its capacity answered 285/s in place of 267; pictures 1.05 times as many once answers
# waited, too (2026-11-26).
_BRIEF_SLEEP_S: Final = 1e-3
# A caller's deadline may be centuries away, and epoll counts milliseconds in 31 bits.
_LONGEST_SLEEP_S: Final = 3600.0
_BUSY_S: Final = 10e-3


class Poller:
    """What one thread waits for. All of it on that thread, but for what says "any thread".

    Args:
        cores: That this process may use.

    Attributes:
        epoll: Where sockets are watched.
        tasks: What other threads have it do.
        spare: What they have it do when it has answered somebody.
        waker: The descriptor in ``epoll`` that only wakes the thread: see :meth:`clear_wakeup`.
    """

    def __init__(self, cores: int) -> None:
        self.epoll = select.epoll()
        self.tasks: deque[Callable[[], None]] = deque()
        # A dict, for each of its steps is one: a task is taken by the thread or back, and never by both.
        self.spare: dict[Callable[[], None], None] = {}
        self.waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll.register(self.waker, select.EPOLLIN)
        self._asleep = False
        # Held by who wakes the thread: the number of a descriptor that is closed may be another's by then.
        self._waking = threading.Lock()
        self._closed = False
        # On one core the caller could do nothing meanwhile.
        self._spin_s = _SPIN_S if cores > 1 else 0.0
        self._pause_s = _LONG_PAUSE_S
        self._busy_until_s = 0.0

    def refused(self) -> None:
        """A request was refused because too much waits: sockets and tasks are looked at less often for a while."""
        self._busy_until_s = time.monotonic() + _BUSY_S

    def call_soon(self, task: Callable[[], None]) -> None:
        """Have the thread do a task soon. Any thread; never blocks."""
        self.tasks.append(task)
        if self._asleep:
            with self._waking:
                if not self._closed:
                    os.eventfd_write(self.waker, 1)

    def call_when_idle(self, task: Callable[[], None]) -> None:
        """Have the thread do a task when it has answered somebody, whenever that is. Any thread; never blocks."""
        self.spare[task] = None

    def cancel_idle_call(self, task: Callable[[], None]) -> bool:
        """Take back such a task. Returns whether it has not begun. Any thread; never blocks."""
        return self.spare.pop(task, task) is None

    def run_idle_task(self) -> None:
        """Do one of those tasks, if there still is one."""
        try:
            task, _ = self.spare.popitem()
        except KeyError:
            return  # It was taken back.
        task()

    def clear_wakeup(self) -> None:
        """The waker had its event."""
        os.eventfd_read(self.waker)

    def wait(self, patience_s: Callable[[float], float]) -> list[tuple[int, int]]:
        """The next events; none where there is a task to do, or the patience is over.

        Args:
            patience_s: How long the thread may sleep, given the time on ``time.monotonic``; below 0 = for ever.
        """
        poll, tasks = self.epoll.poll, self.tasks
        events = poll(0, MAX_EVENTS)
        if events or tasks:
            return events
        began_s = now_s = time.monotonic()
        if now_s < self._busy_until_s:
            return self._sleep_briefly(min(patience_s(now_s), _BRIEF_SLEEP_S))
        if self._pause_s < self._spin_s:
            until_s = began_s + self._spin_s
            while now_s < until_s:
                events = poll(0, MAX_EVENTS)
                now_s = time.monotonic()
                if events or tasks:
                    break
        if not events and not tasks:
            # First this, then the look: a task that is added in between is either seen or wakes the thread.
            self._asleep = True
            events = poll(0 if tasks else min(patience_s(now_s), _LONGEST_SLEEP_S), MAX_EVENTS)
            self._asleep = False
            now_s = time.monotonic()
        self._pause_s += (min(now_s - began_s, _LONG_PAUSE_S) - self._pause_s) * _PAUSE_GAIN
        return events

    def _sleep_briefly(self, patience_s: float) -> list[tuple[int, int]]:
        """Sleep for a while, whatever comes, unless there is a task already. The events of that time."""
        if not self.tasks and patience_s:
            time.sleep(_BRIEF_SLEEP_S if patience_s < 0 else patience_s)
        return self.epoll.poll(0, MAX_EVENTS)

    def close(self) -> None:
        """Requires: the thread is over. Who was about to wake it finds nothing to wake."""
        with self._waking:
            self._closed = True
            os.close(self.waker)
        self.epoll.close()
