"""What a caller hears in place of an answer that is too large to be sent, alone or in a stream, on every transport."""

from __future__ import annotations

from sardonyx_server.errors import MessageTooLarge

__all__ = ["answer_too_large"]


def answer_too_large(size_bytes: int, max_bytes: int) -> MessageTooLarge:
    """The error of an answer.

    Args:
        size_bytes: It has.
        max_bytes: Are sent in one message.
    """
    text = f"the answer is larger than max_message_bytes: it has {size_bytes} bytes, {max_bytes} are sent"
    return MessageTooLarge(f"{text}; ask for less at a time, or have the server's limit raised")
