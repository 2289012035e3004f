"""What the proxy needs of the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy
    from sardonyx_server.rpc.lane.proxy.proxied_stream import ProxiedStream
    from sardonyx_server.rpc.lane.proxy.upstream_connection import UpstreamConnection
    from sardonyx_server.rpc.lane.windows.held import HeldBytes

__all__ = ["ProxyHost"]


class ProxyHost(Protocol):
    """The event loop. Used on its thread only.

    Attributes:
        stopping: Whether the grpcio server is shutting down.
        held: Counts the bytes that all connections hold back.
    """

    stopping: bool
    held: HeldBytes

    def connect_upstream(self, proxy: ConnectionProxy, /) -> UpstreamConnection | None:
        """Connect to the grpcio server; None where it cannot take the connection."""

    def watch(self, stream: ProxiedStream, /) -> None:
        """Start the deadline timer of a stream."""
