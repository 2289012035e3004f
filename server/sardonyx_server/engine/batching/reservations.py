"""Queue slots reserved for requests whose message is still being received, so that no more are accepted than fit.

Dozens of requests may ask while one large message arrives. Without reservations each would see the same free slot.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Reservation", "Reservations"]

# A message that takes longer arrives slowly or not at all; other requests must not be refused because of it.
_LIFETIME_S: Final = 0.1


class Reservation:
    """The slot of one request.

    Attributes:
        is_active: Whether it has neither been released nor expired.
        rows: Rows of the request.
        expires_s: When it expires, whether or not the request has arrived, on the queue's clock.
    """

    __slots__ = ("expires_s", "is_active", "rows")

    def __init__(self, rows: int, expires_s: float) -> None:
        self.is_active = True
        self.rows = rows
        self.expires_s = expires_s


class Reservations:
    """The active reservations of one queue. Not thread-safe.

    Attributes:
        rows: Rows reserved in total.
    """

    __slots__ = ("_reserved", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._reserved: deque[Reservation] = deque()

    def reserve(self, rows: int, now_s: float) -> Reservation:
        """Reserve a slot for so many rows."""
        reservation = Reservation(rows, now_s + _LIFETIME_S)
        self._reserved.append(reservation)
        self.rows += rows
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Release a slot: the request has arrived or will not arrive. Does nothing if it was released or expired."""
        if reservation.is_active:
            reservation.is_active = False
            self.rows -= reservation.rows

    def expire(self, now_s: float) -> None:
        """Release all slots whose time is over."""
        reserved = self._reserved
        while reserved and (not reserved[0].is_active or reserved[0].expires_s <= now_s):
            self.release(reserved.popleft())
