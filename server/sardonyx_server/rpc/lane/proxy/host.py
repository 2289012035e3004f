"""What the proxy needs of the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
    from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy
    from sardonyx_server.rpc.lane.proxy.proxied_stream import ProxiedStream
    from sardonyx_server.rpc.lane.proxy.upstream_connection import UpstreamConnection

__all__ = ["ProxyHost"]


class ProxyHost(Protocol):
    """The event loop. Used on its thread only.

    Attributes:
        stopping: Whether the grpcio server is shutting down.
        send_budget: Counts the unsent bytes of all connections.
    """

    stopping: bool
    send_budget: SendBudget

    def connect_upstream(self, proxy: ConnectionProxy, /) -> UpstreamConnection | None:
        """Connect to the grpcio server; None where it cannot take the connection."""

    def watch(self, stream: ProxiedStream, /) -> None:
        """Start the deadline timer of a stream."""
