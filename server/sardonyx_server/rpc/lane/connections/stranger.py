"""Who comes to this port and speaks something else than HTTP/2: what it is told, and what the log says. No I/O."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.log_rate_limiter import LogRateLimiter
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Stranger", "Strangers"]

_LOG = logging.getLogger("sardonyx.lane")

_TEXT: Final = (
    b"This port speaks gRPC, which is HTTP/2 without TLS. Metrics and probes are on the port that --metrics-port says, "
    b"8002 unless set.\n"
)
_HTTP1_ANSWER: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)
# Not PRI, with which HTTP/2 begins.
_HTTP1: Final = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) ")
# A record of a handshake, of any version of TLS there is.
_TLS: Final = b"\x16\x03"


class Stranger(Http2ConnectionError):
    """The first bytes of a connection are not those of HTTP/2.

    Args:
        data: What has come.

    Attributes:
        speaks: What it seems to be.
        answer: What the other side understands; empty where that is nothing.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(ErrorCode.PROTOCOL_ERROR, "this server speaks HTTP/2 without TLS")
        is_http1 = _HTTP1.match(data) is not None
        self.speaks = "HTTP/1.1" if is_http1 else "TLS" if data.startswith(_TLS) else "something else"
        self.answer = _HTTP1_ANSWER if is_http1 else b""


class Strangers:
    """Tells the operator of them. On the lane's thread.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_limiter = LogRateLimiter(clock)

    def came(self, peer: str, stranger: Stranger) -> None:
        """One came from an address."""
        if self._log_limiter.allow():
            _LOG.info(
                "a caller speaks %s where gRPC is spoken, HTTP/2 without TLS", stranger.speaks, extra={"peer": peer}
            )
