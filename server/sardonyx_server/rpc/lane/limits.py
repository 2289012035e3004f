"""What callers of the lane may do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much, and how often.

    Attributes:
        max_message_bytes: Largest message that is accepted or sent.
        unfinished_bytes: Most bytes of messages that are not whole yet; and of answers that callers have not taken, be
            it that windows hold them back or that they wait for a socket. Beyond it a connection that has its share of
            these, or 1 MiB, gets refusals in place of answers. So in all they are twice as much at most, with 1 MiB and
            one answer for each connection. Not counted are answers of up to 32 KiB until they wait for a socket, and up
            to 8 MiB of each stream.
        min_ping_interval_s: Callers that ping more often are cut off.
    """

    max_message_bytes: int
    unfinished_bytes: int
    min_ping_interval_s: float
