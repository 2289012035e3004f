"""How many calls are open, and who waits until none is."""

from __future__ import annotations

import threading

__all__ = ["OpenCalls"]


class OpenCalls:
    """Counted by one thread, asked by any.

    Attributes:
        begun: Calls that came. The counting thread adds to it.
    """

    __slots__ = ("_ended", "_waiters", "begun")

    def __init__(self) -> None:
        self.begun = 0
        self._ended = 0
        # Each set when no call is open, or when there is no time left to wait for that.
        self._waiters: list[threading.Event] = []

    @property
    def count(self) -> int:
        """Calls that came and are not over yet."""
        return self.begun - self._ended

    def call_ended(self) -> None:
        """A call that began is over. The counting thread."""
        self._ended += 1
        if self._waiters and not self.count:
            self.hurry()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is open. Blocks; :meth:`hurry` ends it early.

        Returns:
            Whether that came about.
        """
        waiter = threading.Event()
        self._waiters.append(waiter)
        if self.count:
            waiter.wait(timeout_s)
        self._waiters.remove(waiter)
        return not self.count

    def hurry(self) -> None:
        """End :meth:`wait_idle`."""
        for waiter in list(self._waiters):
            waiter.set()
