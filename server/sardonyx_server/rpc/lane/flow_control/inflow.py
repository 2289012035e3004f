"""The stream windows that one client is granted (RFC 9113, section 6.9). No I/O.

Normally a window is large enough for a whole image. While such messages are refused because queues are full, that makes
overload worse: each message is received before its client learns of the refusal. So windows are narrow then: they admit
the beginning of a message, and by its header it is refused or granted the rest (calls/call.py). This costs an admitted
message one more round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.frames import Setting, settings, window_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MAX_STREAM_WINDOW_BYTES", "NARROW_WINDOW_BYTES", "STREAM_WINDOW_BYTES", "Inflow"]

STREAM_WINDOW_BYTES: Final = 1 << 20
"""Initial window of a stream: a typical image. A larger message is granted the rest as soon as its length is known."""

NARROW_WINDOW_BYTES: Final = 1 << 14
"""The same while messages are refused: one frame of default size, so that small messages still arrive at once."""

_NARROWED_BYTES: Final = STREAM_WINDOW_BYTES - NARROW_WINDOW_BYTES

MAX_STREAM_WINDOW_BYTES: Final = STREAM_WINDOW_BYTES + _NARROWED_BYTES
"""Largest window of a stream: granted in full while windows were narrow, and increased once more when they widened."""

# How long windows stay narrow after the last refusal. Changing them twice a second costs a client nothing.
_NARROW_S: Final = 1.0


class Inflow:
    """The inbound half of one connection's flow control.

    Args:
        write: Sends frames.

    Attributes:
        window: Initial window of new streams, in bytes.
        narrow_until_s: Until when narrow windows stay narrow, on the clock of :meth:`narrow`.
    """

    __slots__ = ("_widened", "_write", "narrow_until_s", "window")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.window = STREAM_WINDOW_BYTES
        self.narrow_until_s = 0.0
        # Streams that were open when windows widened: their windows are larger by what narrowing takes away.
        self._widened: set[int] = set()

    def narrow(self, streams: Iterable[int], now_s: float) -> None:
        """A large message was refused: narrow the windows of new streams. Open streams keep theirs."""
        self.narrow_until_s = now_s + _NARROW_S
        if self.window == NARROW_WINDOW_BYTES:
            return
        self.window = NARROW_WINDOW_BYTES
        # The setting also reduces the windows of all open streams (section 6.9.2): grant them the difference.
        granted = b"".join(window_update(one, _NARROWED_BYTES) for one in streams if one not in self._widened)
        self._widened.clear()
        self._write(settings({Setting.INITIAL_WINDOW_SIZE: NARROW_WINDOW_BYTES}) + granted)

    def widen(self, streams: Iterable[int], now_s: float) -> None:
        """Restore wide windows if nothing was refused for a while. Requires: windows are narrow."""
        if now_s >= self.narrow_until_s:
            self.window = STREAM_WINDOW_BYTES
            self._widened.update(streams)
            self._write(settings({Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES}))

    def grant(self, stream_id: int) -> None:
        """Grant a stream that was just opened as much as with wide windows."""
        if self.window == NARROW_WINDOW_BYTES:
            self._write(window_update(stream_id, _NARROWED_BYTES))
