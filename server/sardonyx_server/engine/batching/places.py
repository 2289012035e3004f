"""Places in a queue that are kept for requests whose messages are on their way, so that no more are let come than fit.

While one large message comes, dozens ask: without this each of them would find the same place free.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Place", "Places"]

# A message that takes longer than this comes slowly, or not at all: others must not be refused for it.
_KEPT_S: Final = 0.1


class Place:
    """Kept for one request.

    Attributes:
        is_kept: Whether nobody has given it up, and its time is not over.
        rows: Of the request.
        until_s: When it is given up whether the request has come or not, on the queue's clock.
    """

    __slots__ = ("is_kept", "rows", "until_s")

    def __init__(self, rows: int, until_s: float) -> None:
        self.is_kept = True
        self.rows = rows
        self.until_s = until_s


class Places:
    """Of one queue. Not thread-safe.

    Attributes:
        rows: For which there are places.
    """

    __slots__ = ("_kept", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._kept: deque[Place] = deque()

    def keep(self, rows: int, now_s: float) -> Place:
        """Keep a place."""
        place = Place(rows, now_s + _KEPT_S)
        self._kept.append(place)
        self.rows += rows
        return place

    def give_up(self, place: Place) -> None:
        """The request has come, or will not come. Nothing where its time is over."""
        if place.is_kept:
            place.is_kept = False
            self.rows -= place.rows

    def see_clock(self, now_s: float) -> None:
        """Give up those whose time is over."""
        kept = self._kept
        while kept and (not kept[0].is_kept or kept[0].until_s <= now_s):
            self.give_up(kept.popleft())
