"""How much the callers of one connection may send on a stream before they hear more (RFC 9113, section 6.9). No I/O.

A stream's window takes a picture whole. Where such messages are refused, for the queue is too long, that is what makes
overload worse: each brings its bytes before it hears the refusal. So windows are narrow then: they take the header of a
message, by which it is refused or given its room (calls/call.py). That is one more way to and fro for what is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.frames import Setting, settings, window_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MOST_STREAM_BYTES", "NARROW_BYTES", "STREAM_WINDOW_BYTES", "Inflow"]

STREAM_WINDOW_BYTES: Final = 1 << 20
"""What a caller may send on a stream before it hears more: a picture. A larger message is given its room at once."""

NARROW_BYTES: Final = 1 << 14
"""The same while messages are refused: as much as a first frame holds, so that small ones are whole as before."""

_TAKEN_BYTES: Final = STREAM_WINDOW_BYTES - NARROW_BYTES

MOST_STREAM_BYTES: Final = STREAM_WINDOW_BYTES + _TAKEN_BYTES
"""The most that a stream may be sent: one that was given what narrow windows took, and got it again with wide ones."""

# From the last refusal on. It is put off by the next one; and a caller that hears of it twice a second does not mind.
_NARROW_S: Final = 1.0


class Inflow:
    """Of one connection.

    Args:
        put: Sends frames.

    Attributes:
        window: What a stream that begins now may be sent at first, in bytes.
        narrow_until_s: Until when windows that are narrow stay so, on the clock of :meth:`narrow`.
    """

    __slots__ = ("_put", "_roomy", "narrow_until_s", "window")

    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self.window = STREAM_WINDOW_BYTES
        self.narrow_until_s = 0.0
        # Streams that were open when windows became wide: they have what narrow windows take from them.
        self._roomy: set[int] = set()

    def narrow(self, streams: Iterable[int], now_s: float) -> None:
        """A large message was refused: let new streams send less. Those that are open keep what they have."""
        self.narrow_until_s = now_s + _NARROW_S
        if self.window == NARROW_BYTES:
            return
        self.window = NARROW_BYTES
        # It is taken from all streams that are open, too.
        given = b"".join(window_update(one, _TAKEN_BYTES) for one in streams if one not in self._roomy)
        self._roomy.clear()
        self._put(settings({Setting.INITIAL_WINDOW_SIZE: NARROW_BYTES}) + given)

    def widen(self, streams: Iterable[int], now_s: float) -> None:
        """Let streams send as much as at first, if nothing was refused for a while. Requires: windows are narrow."""
        if now_s >= self.narrow_until_s:
            self.window = STREAM_WINDOW_BYTES
            self._roomy.update(streams)
            self._put(settings({Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES}))

    def give(self, stream_id: int) -> None:
        """Let a stream that has just begun send as much as with wide windows."""
        if self.window == NARROW_BYTES:
            self._put(window_update(stream_id, _TAKEN_BYTES))
