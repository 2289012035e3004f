"""Messages that do not come: of calls whose time is up, or of which nothing has come for a minute.

Calls that have come whole are watched by deadlines.py. These are looked for once a second, so that nothing has to be
done for those that come as they should, which are nearly all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.errors import DeadlineExceeded, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sardonyx_server.errors import ServerError

__all__ = ["LOOK_S", "STALLED_S", "Awaited", "Stalled", "did_not_come"]

LOOK_S: Final = 1.0
"""From one look to the next."""

STALLED_S: Final = 60.0
"""How long a request may be on its way without any of it coming. The room of a message that has begun is kept for it,
and there is only so much: four calls that said a length of 256 MiB, and nothing after it, left no room for anybody."""


class Awaited(Protocol):
    """A call whose message has not come whole."""

    @property
    def deadline_s(self) -> float:
        """When its caller gives up, on ``time.monotonic``."""
        ...

    @property
    def room(self) -> memoryview | None:
        """For what is missing, as far as that is known."""
        ...

    def refuse(self, error: ServerError, /) -> None:
        """It cannot go on: answer it."""


class Stalled:
    """Looks for them. Not thread-safe."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        # Bytes that were missing at the last look, as far as that is known, and since when it is as many.
        self._seen: dict[Awaited, tuple[int, float]] = {}

    def may_be(self, *, unary: int, unfinished_bytes: int) -> bool:
        """Whether there is something to look for.

        Args:
            unary: Calls of one message that are open.
            unfinished_bytes: Room of messages that have begun. Those of streams are known by it, also where they began
                since the last look and nothing more comes that would wake the thread.
        """
        return unary > 0 or unfinished_bytes > 0 or bool(self._seen)

    def late(self, awaited: Iterable[Awaited], now_s: float) -> list[tuple[Awaited, ServerError]]:
        """Those that have had their time, and what they are to hear.

        Args:
            awaited: All calls whose message has not come whole.
            now_s: On ``time.monotonic``.
        """
        seen, self._seen = self._seen, {}
        late: list[tuple[Awaited, ServerError]] = []
        for call in awaited:
            missing = 0 if call.room is None else len(call.room)
            before = seen.get(call)
            since_s = now_s if before is None or before[0] != missing else before[1]
            if call.deadline_s <= now_s:
                late.append((call, DeadlineExceeded("the deadline passed before the request had come whole")))
            elif now_s - since_s >= STALLED_S:
                late.append((call, did_not_come()))
            else:
                self._seen[call] = missing, since_s
        return late


def did_not_come() -> InvalidRequest:
    """What the caller of a request hears of which nothing came for so long."""
    text = f"the request did not come whole: nothing of it came for {STALLED_S:g} s"
    return InvalidRequest(text, reason="NO_MESSAGE")
