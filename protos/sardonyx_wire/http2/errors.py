"""When a peer broke the protocol: its connection ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sardonyx_wire.http2.frames import ErrorCode

__all__ = ["Http2ConnectionError"]


class Http2ConnectionError(Exception):
    """A peer broke the protocol, and its connection is of no use any more.

    Args:
        code: Of HTTP/2, for the peer.
        text: For people.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
