"""Deadlines of all calls of an event loop with a single timer: one timer for each call would cost 2 us."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DeadlineTimer"]


class _Waits(Protocol):
    """A call with a deadline. Hashable by identity."""

    deadline_s: float


C = TypeVar("C", bound=_Waits)


class DeadlineTimer(Generic[C]):
    """A timer of the event loop that is running when it is first used.

    Args:
        on_expired: Called once with each call whose deadline has passed.
    """

    __slots__ = ("_callers", "_on_expired", "_timer", "_wakes_at_s")

    def __init__(self, on_expired: Callable[[C], None]) -> None:
        self._on_expired = on_expired
        self._callers: set[C] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at_s = math.inf

    def add(self, caller: C) -> None:
        """Watch a call until its ``deadline_s`` on the event loop's clock; infinite = no limit."""
        self._callers.add(caller)
        if caller.deadline_s < self._wakes_at_s:
            self._schedule(caller.deadline_s)

    def remove(self, caller: C) -> None:
        """Stop watching a call."""
        self._callers.discard(caller)
        # While there are other calls the timer stays. It may then fire too early, and is rescheduled.
        if not self._callers:
            self._schedule(math.inf)

    def _schedule(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at_s = at_s
        self._timer = None if at_s == math.inf else asyncio.get_running_loop().call_at(at_s, self._expire)

    def _expire(self) -> None:
        # The loop may run timers late, and also slightly early.
        now_s = max(self._wakes_at_s, asyncio.get_running_loop().time())
        over = [caller for caller in self._callers if caller.deadline_s <= now_s]
        self._callers.difference_update(over)
        for caller in over:
            self._on_expired(caller)
        self._schedule(min((caller.deadline_s for caller in self._callers), default=math.inf))
