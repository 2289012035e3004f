"""When the callers of an event loop give up waiting: one timer for all of them, since one for each costs 2 us."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Patience"]


class _Waits(Protocol):
    """A caller. Hashable by identity."""

    gives_up_s: float


C = TypeVar("C", bound=_Waits)


class Patience(Generic[C]):
    """Belongs to the event loop that runs when it is first used.

    Args:
        give_up: Called with each caller whose time is over, once.
    """

    __slots__ = ("_at_s", "_callers", "_give_up", "_timer")

    def __init__(self, give_up: Callable[[C], None]) -> None:
        self._give_up = give_up
        self._callers: set[C] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = math.inf

    def begin(self, caller: C) -> None:
        """A caller waits, until ``gives_up_s`` on the event loop's clock; infinity is for ever."""
        self._callers.add(caller)
        if caller.gives_up_s < self._at_s:
            self._wake_at(caller.gives_up_s)

    def end(self, caller: C) -> None:
        """It waits no longer."""
        self._callers.discard(caller)
        # While others wait the timer stays, early as it may be by then: it looks, and is set anew.
        if not self._callers:
            self._wake_at(math.inf)

    def _wake_at(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = None if at_s == math.inf else asyncio.get_running_loop().call_at(at_s, self._look)

    def _look(self) -> None:
        # The loop may be late, and its timers may be a moment early.
        now_s = max(self._at_s, asyncio.get_running_loop().time())
        over = [caller for caller in self._callers if caller.gives_up_s <= now_s]
        self._callers.difference_update(over)
        for caller in over:
            self._give_up(caller)
        self._wake_at(min((caller.gives_up_s for caller in self._callers), default=math.inf))
