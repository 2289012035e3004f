"""Connection errors of HTTP/2 (RFC 9113, section 5.4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sardonyx_wire.http2.frames import ErrorCode

__all__ = ["Http2ConnectionError"]


class Http2ConnectionError(Exception):
    """The peer broke the protocol. The connection cannot be used any more and must be closed.

    Args:
        code: Error code of HTTP/2, sent to the peer in GOAWAY.
        text: The reason, for people.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
