"""What callers have not taken of what is said to them, on all connections: how much that may be."""

from __future__ import annotations

from typing import Final

from sardonyx_server.errors import Overloaded

__all__ = ["HeldBytes"]

# Who takes its answers has hardly more under way, also where others do not.
_LEAST_SHARE_BYTES: Final = 1 << 20


class HeldBytes:
    """Counts what windows hold back, and what waits for sockets. Used on the lane's thread.

    An answer that is ready must go somewhere. Without a bound, callers that ask and do not read would make us hold the
    answers to all that the queues take, on each of their connections.

    Args:
        limit_bytes: In all, beyond which who has its share of it gets refusals in place of answers.

    Attributes:
        bytes: Of data that windows hold back, of large answers that are about to be written, and of all that waits
            for sockets.
        limit_bytes: As given.
    """

    __slots__ = ("bytes", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = 0
        self.limit_bytes = limit_bytes

    @property
    def is_much(self) -> bool:
        """Whether the limit is reached."""
        return self.bytes >= self.limit_bytes

    def share_bytes(self, connections: int) -> int:
        """How much of it each of so many connections may have."""
        return max(_LEAST_SHARE_BYTES, self.limit_bytes // max(1, connections))

    def refusal(self) -> Overloaded:
        """What the caller hears whose answer is one too many."""
        text = f"{self.limit_bytes} bytes of answers wait to be taken by the callers of this server, as much as may"
        return Overloaded(f"{text}, and this connection has its share: take them first, and ask for less at a time")
