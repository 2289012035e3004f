"""Counts open calls, and lets threads wait until none is open."""

from __future__ import annotations

import threading

__all__ = ["OpenCalls"]


class OpenCalls:
    """Number of open calls. Counted by one thread, read by any.

    Attributes:
        begun: Number of calls that have begun. The counting thread adds to it.
    """

    __slots__ = ("_ended", "_waiters", "begun")

    def __init__(self) -> None:
        self.begun = 0
        self._ended = 0
        # One event for each waiting thread; set when no call is open, or by hurry().
        self._waiters: list[threading.Event] = []

    @property
    def count(self) -> int:
        """Number of calls that have begun and not ended."""
        return self.begun - self._ended

    def call_ended(self) -> None:
        """A call has ended. Called by the counting thread."""
        self._ended += 1
        if self._waiters and not self.count:
            self.hurry()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends the wait early.

        Returns:
            Whether no call is open.
        """
        waiter = threading.Event()
        self._waiters.append(waiter)
        if self.count:
            waiter.wait(timeout_s)
        self._waiters.remove(waiter)
        return not self.count

    def hurry(self) -> None:
        """End every :meth:`wait_idle` early. Any thread."""
        for waiter in list(self._waiters):
            waiter.set()
