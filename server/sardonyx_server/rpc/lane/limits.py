"""What callers of the lane may do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much, and how often.

    Attributes:
        max_message_bytes: Largest message that is accepted or sent.
        unfinished_bytes: Most bytes of messages that are not whole yet; and of answers that windows hold back, beyond
            which no more calls are taken of who has many of them. What is not counted: answers to calls that were taken
            before, and those that windows let through and a socket does not take. Who has more than 4 MiB of these is
            not read, so they are at most the answers to what its connection has in the queues.
        min_ping_interval_s: Callers that ping more often are cut off.
    """

    max_message_bytes: int
    unfinished_bytes: int
    min_ping_interval_s: float
