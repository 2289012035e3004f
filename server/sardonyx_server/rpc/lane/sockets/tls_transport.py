"""A connected socket of the lane with TLS: read as long as something is decrypted, of which epoll does not know."""

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
        """The socket is ready, or has something that came with the handshake."""
        super().on_events(events)
        # It ends: nothing is fetched as long as there is more.
        while self._socket.has_more and self.fd >= 0:
            self._read()
