"""Who comes to this port and does not speak what is spoken here: what it is told, and what the log says. No I/O."""

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
# Not PRI, with which HTTP/2 begins.
_HTTP1: Final = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) ")
# A record of a handshake, of any version of TLS there is.
_TLS: Final = b"\x16\x03"


class _Refused(Http2ConnectionError):
    """A caller with whom nothing can be spoken.

    Args:
        text: What it is told where it understands HTTP/2.
        event: What the log says.
        reason: Likewise; empty = there is no more to say.
        answer: What the other side is told instead, as it is; empty where it understands nothing else.
    """

    def __init__(self, text: str, *, event: str, reason: str = "", answer: bytes = b"") -> None:
        super().__init__(ErrorCode.PROTOCOL_ERROR, text)
        self.event = event
        self.reason = reason
        self.answer = answer


class BadPreface(_Refused):
    """The first bytes of a connection are not those that are expected.

    Args:
        data: What has come.
        wants_tls: TLS was expected, else HTTP/2.

    Attributes:
        speaks: What it seems to be.
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
        # To a client of HTTP/2 that is no beginning, so it gives up at once. With settings in front of a reason gRPC's
        # core would take us for a server that goes, and come again until the time of its call is up.
        understands = is_http1 or (wants_tls and self.speaks == "HTTP/2 without TLS")
        status = "400 Bad Request" if wants_tls else "505 HTTP Version Not Supported"
        super().__init__(
            f"this server speaks {spoken}",
            event=f"a caller speaks {self.speaks} where gRPC is spoken, {spoken}",
            answer=_http1_answer(status, spoken) if understands else b"",
        )


class HandshakeFailed(_Refused):
    """There is no TLS with a caller.

    Args:
        error: Why.
        alert: What TLS tells the caller.
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
    """Tells the operator of them. On the lane's thread.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        # Each by itself: who scans ports must not hide that somebody's certificate is out of date.
        self._log_limiters = {BadPreface: LogRateLimiter(clock), HandshakeFailed: LogRateLimiter(clock)}

    def record(self, peer: str, refused: BadPreface | HandshakeFailed) -> None:
        """One came from an address."""
        if self._log_limiters[type(refused)].allow():
            reason = {"reason": refused.reason} if refused.reason else {}
            _LOG.info(refused.event, extra={"peer": peer, **reason})
