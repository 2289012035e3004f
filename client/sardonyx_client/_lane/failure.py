"""How a call on the lane fails: as what grpc raises, so that one place translates both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_wire.http2.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LaneFailure", "closed", "code_of_reset", "deadline_exceeded"]

# Statuses of streams that the server resets (gRPC over HTTP/2, "Errors"); all others are INTERNAL.
_RESET_CODES: Final[dict[int, grpc.StatusCode]] = {
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}


class LaneFailure(grpc.RpcError):
    """A call failed.

    Args:
        code: Its status.
        text: For people.
        trailing: Metadata that came with the status.
        pushback_ms: What the server says of further attempts; see ``fields.py``.
        unprocessed: The server has certainly not looked at the request.
        committed: The server had begun to answer: gRPC makes no further attempt then.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        text: str,
        *,
        trailing: Sequence[tuple[str, str | bytes]] = (),
        pushback_ms: int | None = None,
        unprocessed: bool = False,
        committed: bool = False,
    ) -> None:
        super().__init__(f"{code.name}: {text}")
        self._code = code
        self._text = text
        self._trailing = trailing
        self.pushback_ms = pushback_ms
        self.unprocessed = unprocessed
        self.committed = committed

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """The text."""
        return self._text

    def trailing_metadata(self) -> Any:  # typeshed says a class of grpc's own here
        """What came with the status."""
        return self._trailing


def code_of_reset(code: int) -> grpc.StatusCode:
    """RST_STREAM's code -> status."""
    return _RESET_CODES.get(code, grpc.StatusCode.INTERNAL)


def deadline_exceeded() -> LaneFailure:
    """The time is over on this side; the text is grpc's, by which the client knows that."""
    return LaneFailure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def closed() -> LaneFailure:
    """The client was closed, so nothing is sent any more."""
    return LaneFailure(grpc.StatusCode.CANCELLED, "the client was closed")
