"""Messages that do not come: of calls whose time is up, or of which nothing has come for a minute.

Calls that have come whole are watched by deadlines.py. These are looked for once a second, so that nothing has to be
done for those that come as they should, which are nearly all. What the grpcio server answers goes by the same times
(proxied_stream.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_server.errors import DeadlineExceeded, InvalidRequest, ShuttingDown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sardonyx_server.errors import ServerError

__all__ = [
    "CHECK_INTERVAL_S",
    "RECEIVE_TIMEOUT_S",
    "ReceiveTimeouts",
    "Receiving",
    "patience_s",
    "receive_timeout_error",
]

CHECK_INTERVAL_S: Final = 1.0
"""From one look to the next."""

RECEIVE_TIMEOUT_S: Final = 60.0
"""How long a request may be on its way without any of it coming. The room of a message that has begun is kept for it,
and there is only so much: four calls that said a length of 256 MiB, and nothing after it, left no room for anybody."""

# The same once the server stops: nothing of such a request has run, so it may go to another server, and to wait for it
# would hold up the stop for as long as that may take.
_STOPPING_S: Final = 1.0


class Receiving(Protocol):
    """A call whose message has not come whole."""

    @property
    def deadline_s(self) -> float:
        """When its caller gives up, on ``time.monotonic``."""
        ...

    @property
    def receive_buffer(self) -> memoryview | None:
        """For what is missing, as far as that is known."""
        ...

    def refuse(self, error: ServerError, /) -> None:
        """It cannot go on: answer it."""


class ReceiveTimeouts:
    """Looks for them. Not thread-safe."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        # Bytes that were missing at the last look, as far as that is known, and since when it is as many.
        self._seen: dict[Receiving, tuple[int, float]] = {}

    def may_be(self, *, unary: int, unfinished_bytes: int) -> bool:
        """Whether there is something to look for.

        Args:
            unary: Calls of one message that are open.
            unfinished_bytes: Room of messages that have begun. Those of streams are known by it, also where they began
                since the last look and nothing more comes that would wake the thread.
        """
        return unary > 0 or unfinished_bytes > 0 or bool(self._seen)

    def late(
        self, receiving: Iterable[Receiving], now_s: float, *, stopping: bool = False
    ) -> list[tuple[Receiving, ServerError]]:
        """Those that have had their time, and what they are to hear.

        Args:
            receiving: All calls whose message has not come whole.
            now_s: On ``time.monotonic``.
            stopping: Whether the server stops.
        """
        seen, self._seen = self._seen, {}
        late: list[tuple[Receiving, ServerError]] = []
        for call in receiving:
            missing = 0 if call.receive_buffer is None else len(call.receive_buffer)
            before = seen.get(call)
            since_s = now_s if before is None or before[0] != missing else before[1]
            if call.deadline_s <= now_s:
                late.append((call, DeadlineExceeded("the deadline passed before the request had come whole")))
            elif now_s - since_s >= patience_s(stopping=stopping):
                late.append((call, receive_timeout_error(stopping=stopping)))
            else:
                self._seen[call] = missing, since_s
        return late


def patience_s(*, stopping: bool) -> float:
    """How long nothing of a request may come; ``stopping``: the server stops."""
    return _STOPPING_S if stopping else RECEIVE_TIMEOUT_S


def receive_timeout_error(*, stopping: bool) -> ServerError:
    """What the caller of a request hears of which nothing came for so long."""
    if stopping:
        text = f"the server is stopping, and nothing more of the request came for {_STOPPING_S:g} s"
        return ShuttingDown(f"{text}; send it to another server")
    text = f"the request did not come whole: nothing of it came for {RECEIVE_TIMEOUT_S:g} s"
    return InvalidRequest(text, reason="NO_MESSAGE")
