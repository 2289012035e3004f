"""The error that replaces a response that is too large to send: unary or in a stream, on both transports."""

from __future__ import annotations

from sardonyx_server.errors import MessageTooLarge

__all__ = ["response_too_large"]


def response_too_large(size_bytes: int, max_bytes: int) -> MessageTooLarge:
    """Make the error for a response above the limit.

    Args:
        size_bytes: Size of the response.
        max_bytes: Size of the largest message that is sent.
    """
    text = f"the answer is larger than max_message_bytes: it has {size_bytes} bytes, {max_bytes} are sent"
    return MessageTooLarge(f"{text}; ask for less at a time, or have the server's limit raised")
