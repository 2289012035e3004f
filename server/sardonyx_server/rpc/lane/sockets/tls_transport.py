"""A connected socket of the lane with TLS: reads as long as TLS has buffered bytes, which epoll does not report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.rpc.lane.sockets.socket_transport import SocketTransport

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.sockets.tls_socket import TlsSocket

__all__ = ["TlsTransport"]


class TlsTransport(SocketTransport):
    """See :class:`SocketTransport`. Requires: the socket is a TlsSocket whose handshake is done."""

    __slots__ = ()

    _socket: TlsSocket

    def on_events(self, events: int) -> None:
        """Handle events of epoll, or bytes that arrived with the handshake."""
        super().on_events(events)
        # This ends: the socket itself is not read while TLS has buffered bytes.
        while self._socket.has_more and self.fd >= 0:
            self._read()
