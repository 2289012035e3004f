"""Limits on what clients of the lane may do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on sizes, and on the rate of pings.

    Attributes:
        max_message_bytes: Size limit of a message, in either direction.
        unfinished_bytes: Limit of the bytes of request messages that have not arrived completely, on all connections;
            and, counted separately, of response bytes that clients have not read, which flow control blocks or which
            wait for a socket. Once the latter limit is reached, a connection that has used up its share, of at least
            1 MiB, gets errors in place of responses. Both together are therefore at most twice the limit, plus 1 MiB
            and one response for each connection. Not counted are responses of up to 32 KiB until they wait for a
            socket, and up to 8 MiB of each stream.
        min_ping_interval_s: Connections of clients that ping more often are closed.
    """

    max_message_bytes: int
    unfinished_bytes: int
    min_ping_interval_s: float
