"""Where the stock server listens: a name that is no file and can be left behind by nobody."""

from __future__ import annotations

import logging
import secrets
import socket
from typing import TYPE_CHECKING

from sardonyx_server.rarely import Rarely

if TYPE_CHECKING:
    import grpc

__all__ = ["BackDoor"]

_LOG = logging.getLogger("sardonyx.lane")


class BackDoor:
    """Linux's abstract Unix socket. Whoever is on this machine can see its name, as the port."""

    def __init__(self) -> None:
        self._name = f"sardonyx-{secrets.token_hex(16)}"
        # Where the process has no descriptors left each call of a caller would be a line.
        self._complains = Rarely()

    def open(self, server: grpc.Server) -> None:
        """Have the stock server listen there. Requires: it has not been started."""
        server.add_insecure_port(f"unix-abstract:{self._name}")

    def enter(self) -> socket.socket | None:
        """A connected socket that does not block; None where the server takes no more."""
        connected = None
        try:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            connected.connect(f"\0{self._name}")
        except OSError as error:
            if connected is not None:
                connected.close()
            if self._complains.due():
                _LOG.warning("the stock server behind the lane takes no connection", extra={"reason": str(error)})
            return None
        return connected
