"""How often a line that many callers can cause stands in the log: trouble may last for hours, and fill a disk."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Rarely"]

_AGAIN_S: Final = 60.0


class Rarely:
    """Whether to say something: the first time, and then once a minute. Used by one thread, or it may be said twice.

    Args:
        clock: Seconds, monotonic.
    """

    __slots__ = ("_clock", "_from_s")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._from_s = -math.inf

    def due(self) -> bool:
        """Whether to say it now; then it is said."""
        now_s = self._clock()
        if now_s < self._from_s:
            return False
        self._from_s = now_s + _AGAIN_S
        return True
