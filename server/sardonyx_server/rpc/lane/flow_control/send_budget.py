"""Bound of the response bytes that clients have not read yet, over all connections."""

from __future__ import annotations

from typing import Final

from sardonyx_server.errors import Overloaded

__all__ = ["SendBudget"]

# Smallest share of a connection: a client that reads its responses hardly has more in flight, whatever others do.
_LEAST_SHARE_BYTES: Final = 1 << 20


class SendBudget:
    """Counts bytes that are blocked by flow control or wait for a socket. Used on the lane's thread.

    A response that is ready has to be buffered. Without a bound, clients that send requests and do not read would make
    us buffer the responses to all requests that the queues admit, on each of their connections.

    Args:
        limit_bytes: Limit for all connections. Once it is reached, connections that have used up their share get errors
            in place of responses.

    Attributes:
        used_bytes: Data blocked by flow control, large responses that are about to be written, and all bytes that wait
            for sockets.
        limit_bytes: As given.
    """

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.used_bytes = 0
        self.limit_bytes = limit_bytes

    @property
    def is_exhausted(self) -> bool:
        """Whether the limit is reached."""
        return self.used_bytes >= self.limit_bytes

    def share_bytes(self, connections: int) -> int:
        """Share of each connection, in bytes, where there are so many."""
        return max(_LEAST_SHARE_BYTES, self.limit_bytes // max(1, connections))

    def refusal(self) -> Overloaded:
        """The error for a client whose response exceeds the share of its connection."""
        text = f"{self.limit_bytes} bytes of answers wait to be taken by the callers of this server, as much as may"
        return Overloaded(f"{text}, and this connection has its share: take them first, and ask for less at a time")
