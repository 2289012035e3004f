"""Rate limit for log lines that callers can trigger, so that a long outage does not fill the disk."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LogRateLimiter"]

_INTERVAL_S: Final = 60.0


class LogRateLimiter:
    """Allows the first message, then one a minute. Not thread-safe: two threads at once may both be allowed.

    Args:
        clock: Monotonic time in seconds.
    """

    __slots__ = ("_clock", "_next_s")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_s = -math.inf

    def allow(self) -> bool:
        """Whether the message may be logged now; a message that is allowed starts the next interval."""
        now_s = self._clock()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + _INTERVAL_S
        return True
