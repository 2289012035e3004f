"""Errors of this transport. They are ``grpc.RpcError`` like grpcio's own, so that one place translates both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from sardonyx_wire.http2.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Http2RpcError", "client_closed", "deadline_exceeded", "status_of_reset"]

# HTTP/2 error code of RST_STREAM -> status (gRPC over HTTP/2, "Errors"); all others are INTERNAL.
_RESET_CODES: Final[dict[int, grpc.StatusCode]] = {
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}


class Http2RpcError(grpc.RpcError):
    """An attempt of a call failed.

    Args:
        code: Status.
        text: Status message.
        trailing: Trailing metadata.
        pushback_ms: ``grpc-retry-pushback-ms``; see ``response_headers.py``.
        unprocessed: Whether the server certainly did not process the request.
        committed: Whether the response had begun; gRPC does not retry then.
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
        """Status."""
        return self._code

    def details(self) -> str:
        """Status message."""
        return self._text

    def trailing_metadata(self) -> Any:  # typeshed says a class of grpc's own here
        """Trailing metadata."""
        return self._trailing


def status_of_reset(code: int) -> grpc.StatusCode:
    """Error code of RST_STREAM -> status."""
    return _RESET_CODES.get(code, grpc.StatusCode.INTERNAL)


def deadline_exceeded() -> Http2RpcError:
    """The deadline passed on this side. The text is grpcio's, by which ``_errors.py`` recognises that."""
    return Http2RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def client_closed() -> Http2RpcError:
    """The client was closed."""
    return Http2RpcError(grpc.StatusCode.CANCELLED, "the client was closed")
