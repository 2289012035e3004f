"""The socket on which the grpcio server listens behind the lane: an abstract one, which leaves no file behind."""

from __future__ import annotations

import logging
import secrets
import socket
from typing import TYPE_CHECKING

from sardonyx_server.log_rate_limiter import LogRateLimiter

if TYPE_CHECKING:
    import grpc

__all__ = ["Upstream"]

_LOG = logging.getLogger("sardonyx.lane")


class Upstream:
    """An abstract Unix socket of Linux. Like a TCP port, it takes connections of everybody on this machine.

    Calls that do not come from the lane are refused: see ``other_rpcs/peer.py``.
    """

    def __init__(self) -> None:
        self._name = f"sardonyx-{secrets.token_hex(16)}"
        # Without file descriptors every call would log a line.
        self._log_limit = LogRateLimiter()

    def listen(self, server: grpc.Server) -> None:
        """Have the grpcio server listen on it. Requires: the server has not been started."""
        server.add_insecure_port(f"unix-abstract:{self._name}")

    def connect(self) -> socket.socket | None:
        """A connected, non-blocking socket; None where the server cannot take the connection."""
        connected = None
        try:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            connected.connect(f"\0{self._name}")
        except OSError as error:
            if connected is not None:
                connected.close()
            if self._log_limit.allow():
                _LOG.warning("the grpcio server behind the lane takes no connection", extra={"reason": str(error)})
            return None
        return connected
