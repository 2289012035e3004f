"""Clients that speak the wrong protocol or fail the TLS handshake: what they are sent, what is logged. No I/O."""

from __future__ import annotations

import logging
import re
import ssl
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.log_rate_limiter import LogRateLimiter
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BadPreface", "BadPrefaceLog", "HandshakeFailed"]

_LOG = logging.getLogger("sardonyx.lane")

_HTTP1_ANSWER: Final = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n{text}"
)
_HTTP2: Final = b"PRI * HTTP/2"
# Not PRI, the method with which the preface of HTTP/2 begins.
_HTTP1: Final = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) ")
# Begins a handshake record in every version of TLS.
_TLS: Final = b"\x16\x03"


class _Refused(Http2ConnectionError):
    """A connection on which HTTP/2 cannot begin.

    Args:
        text: Error message for a client that understands HTTP/2.
        event: Log message.
        reason: Details for the log; empty = none.
        answer: Bytes that are sent instead of HTTP/2 frames; empty = send frames.
    """

    def __init__(self, text: str, *, event: str, reason: str = "", answer: bytes = b"") -> None:
        super().__init__(ErrorCode.PROTOCOL_ERROR, text)
        self.event = event
        self.reason = reason
        self.answer = answer


class BadPreface(_Refused):
    """A connection does not begin with the expected bytes.

    Args:
        data: The first bytes that the client sent.
        wants_tls: Whether TLS was expected; otherwise HTTP/2 was.

    Attributes:
        speaks: The protocol that the client seems to speak.
    """

    def __init__(self, data: bytes, *, wants_tls: bool = False) -> None:
        is_http1 = _HTTP1.match(data) is not None
        if is_http1:
            self.speaks = "HTTP/1.1"
        elif data.startswith(_TLS):
            self.speaks = "TLS"
        else:
            self.speaks = "HTTP/2 without TLS" if wants_tls and data.startswith(_HTTP2) else "something else"
        spoken = "HTTP/2 over TLS" if wants_tls else "HTTP/2 without TLS" if self.speaks == "TLS" else "HTTP/2"
        # An HTTP/2 client without TLS gets HTTP/1.1, which is no valid preface, so it gives up at once. If we sent
        # SETTINGS and a GOAWAY with the reason, gRPC's core would take us for a server that is shutting down, and
        # reconnect until the deadline of its call.
        understands = is_http1 or (wants_tls and self.speaks == "HTTP/2 without TLS")
        status = "400 Bad Request" if wants_tls else "505 HTTP Version Not Supported"
        super().__init__(
            f"this server speaks {spoken}",
            event=f"a caller speaks {self.speaks} where gRPC is spoken, {spoken}",
            answer=_http1_answer(status, spoken) if understands else b"",
        )


class HandshakeFailed(_Refused):
    """The TLS handshake with a client failed.

    Args:
        error: The reason.
        alert: The TLS alert that is sent to the client.
    """

    def __init__(self, error: ssl.SSLError, alert: bytes) -> None:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = f"{reason}: {error.verify_message}"
        super().__init__("the handshake of TLS failed", event="a handshake of TLS failed", reason=reason, answer=alert)


def _http1_answer(status: str, spoken: str) -> bytes:
    text = (
        f"This port speaks gRPC, which is {spoken}. Metrics and probes are on the port that --metrics-port says, 8002 "
        "unless set.\n"
    )
    return _HTTP1_ANSWER.format(status=status, size=len(text), text=text).encode()


class BadPrefaceLog:
    """Logs wrong protocols and failed handshakes, rate-limited. Used on the lane's thread.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        # One limiter for each kind, so that port scans do not keep an expired client certificate out of the log.
        self._log_limiters = {BadPreface: LogRateLimiter(clock), HandshakeFailed: LogRateLimiter(clock)}

    def record(self, peer: str, refused: BadPreface | HandshakeFailed) -> None:
        """Log one, with the client's address."""
        if self._log_limiters[type(refused)].allow():
            reason = {"reason": refused.reason} if refused.reason else {}
            _LOG.info(refused.event, extra={"peer": peer, **reason})
