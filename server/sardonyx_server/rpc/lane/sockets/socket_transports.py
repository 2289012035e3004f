"""The lane's connected sockets: their handlers, which have output, and waiting until all are closed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.sockets.socket_transport import SocketTransport
from sardonyx_server.rpc.lane.sockets.tls_socket import TlsSocket
from sardonyx_server.rpc.lane.sockets.tls_transport import TlsTransport

if TYPE_CHECKING:
    import select
    import socket
    from collections.abc import Callable

    from sardonyx_server.rpc.lane.sockets.protocol_handler import ProtocolHandler

__all__ = ["SocketTransports"]

# How long clients have to close after they got all responses and GOAWAY.
_GOODBYE_S: Final = 0.5


class SocketTransports:
    """All transports of one lane. Used on the lane's thread, except for :meth:`wait`.

    Args:
        epoll: Watches the sockets.
        on_write_closed: Called with each transport whose ``expire`` has to be called at its deadline.

    Attributes:
        by_fd: Open transports, by file descriptor.
        touched: Handlers that have output.
        closing: Whether to close each transport once its handler is finished.
    """

    __slots__ = ("_by_handler", "_epoll", "_on_write_closed", "_one_gone", "by_fd", "closing", "touched")

    def __init__(self, epoll: select.epoll, on_write_closed: Callable[[SocketTransport], None]) -> None:
        self._epoll = epoll
        self._on_write_closed = on_write_closed
        self.by_fd: dict[int, SocketTransport] = {}
        self.touched: list[ProtocolHandler] = []
        self.closing = False
        self._by_handler: dict[ProtocolHandler, SocketTransport] = {}
        self._one_gone = threading.Event()

    @property
    def handlers(self) -> list[ProtocolHandler]:
        """Handlers of all open transports."""
        return list(self._by_handler)

    def add(self, connected: socket.socket, handler: ProtocolHandler) -> SocketTransport:
        """Make a transport for a socket, with or without TLS, and watch it.

        Raises:
            OSError: The user's limit of sockets watched by epoll is reached.
        """
        kind = TlsTransport if isinstance(connected, TlsSocket) else SocketTransport
        transport = kind(connected, handler, self._epoll, on_closed=self._forget, on_write_closed=self._on_write_closed)
        self._by_handler[handler] = self.by_fd[transport.fd] = transport
        return transport

    def flush(self) -> None:
        """Write the output of all touched handlers."""
        touched, by_handler = self.touched, self._by_handler
        while touched:
            transport = by_handler.get(touched.pop())
            if transport is not None:
                transport.flush()
        if self.closing:
            for transport in list(by_handler.values()):
                transport.close_if_finished()

    def close(self) -> None:
        """Close all transports now."""
        for transport in list(self.by_fd.values()):
            transport.close()

    def wait(self, patience_s: float) -> None:
        """Wait until clients have read their responses and closed. Blocks; called on another thread."""
        began_s = time.monotonic()
        while self.by_fd and (waited_s := time.monotonic() - began_s) < patience_s:
            if waited_s >= _GOODBYE_S and not any(transport.is_writing for transport in list(self.by_fd.values())):
                break  # The remaining clients have everything and do not close.
            self._one_gone.wait(_GOODBYE_S / 10)
            self._one_gone.clear()

    def _forget(self, transport: SocketTransport) -> None:
        del self.by_fd[transport.fd]
        del self._by_handler[transport.handler]
        self._one_gone.set()
