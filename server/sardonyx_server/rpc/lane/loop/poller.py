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
"""Maximum number of events that one poll returns."""

# How long the thread spins before it sleeps, provided that recent pauses were shorter than this on average: a wake-up
# takes longer than a spin, and finds cold caches. A single client that sends its next request upon each response pauses
# for some 80 us. With 60 us instead of 150 us the thread never spun for it, and a call took 123 us instead of 110 us
# (2026-11-26).
_SPIN_S: Final = 150e-6
_LONG_PAUSE_S: Final = 1e-3
_PAUSE_GAIN: Final = 0.2
# Under overload the thread sleeps this long before each poll, for _BUSY_S after the last refusal. While requests are
# refused because too many wait, a prompt look at each one gains nothing. Requests that arrive during the sleep are
# handled together, as are the responses of runners, and the CPU time saved goes to the runners. magika at five times
# its capacity answered 285/s instead of 267/s; pictures 1.05 times as many once responses were delayed too
# (2026-11-26).
_BRIEF_SLEEP_S: Final = 1e-3
# Longest sleep: a client's deadline may be centuries away, and epoll takes milliseconds in 31 bits.
_LONGEST_SLEEP_S: Final = 3600.0
_BUSY_S: Final = 10e-3


class Poller:
    """Waits for one thread's sockets and tasks. Used on that thread, except for methods that say "any thread".

    Args:
        cores: Number of cores that this process may use.

    Attributes:
        epoll: Watches the sockets.
        tasks: Tasks of other threads, to be run soon.
        spare: Tasks of other threads, to be run one at a time after responses were written.
        waker: The descriptor in ``epoll`` that only wakes the thread: see :meth:`clear_wakeup`.
    """

    def __init__(self, cores: int) -> None:
        self.epoll = select.epoll()
        self.tasks: deque[Callable[[], None]] = deque()
        # A dict, because its operations are atomic: a task is either run by the thread or cancelled, never both.
        self.spare: dict[Callable[[], None], None] = {}
        self.waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll.register(self.waker, select.EPOLLIN)
        self._asleep = False
        # Held while a thread writes to the waker. Otherwise close() could come in between, and the number of the closed
        # descriptor could belong to another file by then.
        self._waking = threading.Lock()
        self._closed = False
        # On a single core, spinning would only take CPU time from the other threads.
        self._spin_s = _SPIN_S if cores > 1 else 0.0
        self._pause_s = _LONG_PAUSE_S
        self._busy_until_s = 0.0

    def refused(self) -> None:
        """A request was refused because too many wait: poll less often for ``_BUSY_S``."""
        self._busy_until_s = time.monotonic() + _BUSY_S

    def call_soon(self, task: Callable[[], None]) -> None:
        """Have the thread run a task soon. Any thread; never blocks."""
        self.tasks.append(task)
        if self._asleep:
            with self._waking:
                if not self._closed:
                    os.eventfd_write(self.waker, 1)

    def call_when_idle(self, task: Callable[[], None]) -> None:
        """Have the thread run a task after it has written responses, whenever that is. Any thread; never blocks."""
        self.spare[task] = None

    def cancel_idle_call(self, task: Callable[[], None]) -> bool:
        """Cancel such a task. Returns whether it was cancelled before it began. Any thread; never blocks."""
        return self.spare.pop(task, task) is None

    def run_idle_task(self) -> None:
        """Run one of those tasks, if there still is one."""
        try:
            task, _ = self.spare.popitem()
        except KeyError:
            return  # It was cancelled.
        task()

    def clear_wakeup(self) -> None:
        """Reset the waker after its event."""
        os.eventfd_read(self.waker)

    def wait(self, patience_s: Callable[[float], float]) -> list[tuple[int, int]]:
        """Wait for events. Returns none if there is a task to run, or the timeout is over.

        Args:
            patience_s: Called with the time on ``time.monotonic``; returns the timeout in seconds, below 0 = none.
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
            # Set before the tasks are checked: a task that is added in between is either seen or wakes the thread.
            self._asleep = True
            events = poll(0 if tasks else min(patience_s(now_s), _LONGEST_SLEEP_S), MAX_EVENTS)
            self._asleep = False
            now_s = time.monotonic()
        self._pause_s += (min(now_s - began_s, _LONG_PAUSE_S) - self._pause_s) * _PAUSE_GAIN
        return events

    def _sleep_briefly(self, patience_s: float) -> list[tuple[int, int]]:
        """Sleep regardless of new events, unless a task waits already. Returns the events that have arrived."""
        if not self.tasks and patience_s:
            time.sleep(_BRIEF_SLEEP_S if patience_s < 0 else patience_s)
        return self.epoll.poll(0, MAX_EVENTS)

    def close(self) -> None:
        """Close the descriptors. Requires: the thread has ended. A later :meth:`call_soon` does not touch them."""
        with self._waking:
            self._closed = True
            os.close(self.waker)
        self.epoll.close()
