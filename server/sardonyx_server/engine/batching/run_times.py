"""How long a batch takes just now, so that a request whose caller will have gone by then is not run in vain."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["RunTimes"]

# The second longest of eight: one run that was held up says nothing of the next, two of them do. With the middle of
# five goodput under five times the load was 0.66 to 0.71 of its peak, with this 0.80 to 0.86: where callers and lane
# want the cores, too, one run in five takes half as long again (magika on two cores, 2026-11-26).
_REMEMBERED: Final = 8
# The answer has a way to go. With 1.75 and 2 it was no more.
_MARGIN: Final = 1.5


class RunTimes:
    """The last runs of one model. Not thread-safe.

    Under overload the requests at the head of a queue are always about to expire: whoever runs them to the end finds
    that nobody waits any more, and the next ones have meanwhile come as far. magika at five times its capacity answered
    a fifth of what it can (2026-11-26).
    """

    __slots__ = ("_last_s", "_needed_s", "_seconds")

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._needed_s = 0.0
        self._last_s = 0.0

    def took(self, seconds: float, now_s: float) -> None:
        """A batch was run, from its taking to its answers; it is over now."""
        self._seconds.append(seconds)
        self._needed_s = sorted(self._seconds)[-2:][0] * _MARGIN
        self._last_s = now_s

    def needed_s(self, now_s: float) -> float:
        """What a batch that is taken now will probably take; 0 where nobody knows.

        Nor does anybody know when nothing has run for as long: then the next request is run whatever its deadline, or
        what was true once would be held true for ever.
        """
        return 0.0 if now_s - self._last_s > self._needed_s else self._needed_s
