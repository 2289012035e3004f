"""Finds calls whose request message does not arrive: the deadline has passed, or nothing arrived for a minute.

deadlines.py watches the calls whose message is complete. Incomplete messages are checked once a second, so messages
that arrive in time, which are nearly all, cost nothing. Proxied streams have the same timeouts (proxied_stream.py).
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
"""Time between two checks."""

RECEIVE_TIMEOUT_S: Final = 60.0
"""Receive timeout: how long nothing of an incomplete request may arrive. Each message that has begun holds its memory
out of a bounded budget: four calls that announced 256 MiB and sent nothing more left no memory for any other."""

# Receive timeout while the server is stopping. Nothing of such a request has run, so the caller may send it to another
# server, and waiting for it would delay the stop for as long as it takes to arrive.
_STOPPING_S: Final = 1.0


class Receiving(Protocol):
    """A call whose message is incomplete."""

    @property
    def deadline_s(self) -> float:
        """The caller's deadline, on ``time.monotonic``; infinity where it set none."""
        ...

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the bytes that have not arrived; None while the length is unknown."""
        ...

    def refuse(self, error: ServerError, /) -> None:
        """Fail the call with an error."""


class ReceiveTimeouts:
    """Finds the calls whose message is overdue. Not thread-safe."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        # Call -> bytes missing at the last check (0 = unknown), and since when this number is unchanged.
        self._seen: dict[Receiving, tuple[int, float]] = {}

    def may_be(self, *, unary: int, unfinished_bytes: int) -> bool:
        """Whether there may be incomplete messages to check.

        Args:
            unary: Number of open unary calls.
            unfinished_bytes: Bytes reserved for incomplete messages. They reveal the messages of streams, also one that
                began since the last check and of which nothing more arrives that would wake the thread.
        """
        return unary > 0 or unfinished_bytes > 0 or bool(self._seen)

    def late(
        self, receiving: Iterable[Receiving], now_s: float, *, stopping: bool = False
    ) -> list[tuple[Receiving, ServerError]]:
        """The calls whose message is overdue, each with the error to fail it with.

        Args:
            receiving: All calls whose message is incomplete.
            now_s: The current time, on ``time.monotonic``.
            stopping: Whether the server is stopping.
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
    """The receive timeout; ``stopping``: the server is stopping."""
    return _STOPPING_S if stopping else RECEIVE_TIMEOUT_S


def receive_timeout_error(*, stopping: bool) -> ServerError:
    """The error for a request whose receive timeout has passed; ``stopping``: the server is stopping."""
    if stopping:
        text = f"the server is stopping, and nothing more of the request came for {_STOPPING_S:g} s"
        return ShuttingDown(f"{text}; send it to another server")
    text = f"the request did not come whole: nothing of it came for {RECEIVE_TIMEOUT_S:g} s"
    return InvalidRequest(text, reason="NO_MESSAGE")
