"""The client's side of the proxy: opens upstream connections, and sends what comes back to the client. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.flow_control.outflow import UNLIMITED_WINDOW, SendQueue
from sardonyx_server.rpc.status import to_status

if TYPE_CHECKING:
    from sardonyx_server.errors import ServerError
    from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter
    from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
    from sardonyx_server.rpc.lane.proxy.host import ProxyHost
    from sardonyx_server.rpc.lane.proxy.proxied_stream import ProxiedStream
    from sardonyx_server.rpc.lane.proxy.upstream_connection import UpstreamConnection
    from sardonyx_wire.http2.hpack import Field

__all__ = ["ConnectionProxy"]

# Bytes of one client that may wait for the grpcio server even while the memory limit of all connections is reached.
_MAX_BLOCKED_BYTES: Final = 16 << 20


class ConnectionProxy:
    """Forwards the streams of one client connection.

    Args:
        host: The event loop.
        writer: The response writer of the connection.

    Attributes:
        send_budget: Counts the unsent bytes of all connections.
        peer: Address of the client.
        write: Sends frames to the client as they are.
    """

    __slots__ = ("_host", "_upstreams", "_writer", "peer", "send_budget", "write")

    def __init__(self, host: ProxyHost, writer: ResponseWriter) -> None:
        self._host = host
        self._writer = writer
        self.send_budget: SendBudget = host.send_budget
        self.peer = writer.peer
        self.write = writer.write
        # New streams go to the last one. Those before it are shutting down and still have open streams.
        self._upstreams: list[UpstreamConnection] = []

    @property
    def initial_window(self) -> int:
        """The client's initial window for a new stream, in bytes."""
        return self._writer.outflow.initial_window

    @property
    def stopping(self) -> bool:
        """Whether the grpcio server is shutting down."""
        return self._host.stopping

    def open(self, stream_id: int, fields: list[Field], *, ends: bool) -> ProxiedStream | None:
        """Open a stream upstream; None where the grpcio server accepts none, or has too many bytes to read first."""
        if not self._upstreams or not self._upstreams[-1].accepts_streams:
            upstream = self._host.connect_upstream(self)
            if upstream is None:
                return None
            self._upstreams = [*(each for each in self._upstreams if not each.finished), upstream]
        upstream = self._upstreams[-1]
        full = self.send_budget.is_exhausted
        if upstream.is_backlogged or (full and upstream.outflow.blocked_bytes > _MAX_BLOCKED_BYTES):
            return None
        return upstream.open(stream_id, fields, end=ends)

    def set_initial_window(self, size: int) -> None:
        """The client changed its initial window."""
        for upstream in self._upstreams:
            upstream.set_initial_window(size)

    def close(self) -> None:
        """The client has disconnected."""
        for upstream in self._upstreams:
            upstream.close()

    # Called by upstream_connection.py and proxied_stream.py.

    def send_downstream(self, stream: ProxiedStream, part: memoryview | bytes, upstream: UpstreamConnection) -> None:
        """Send data (a view) or whole frames to the client, in order. ``upstream`` is told when data have been sent."""
        writer = self._writer
        writer.ping_strikes = 0
        outflow, on_sent = writer.outflow, upstream.return_credit
        queue = outflow.queue(stream.id) or SendQueue(stream.id, UNLIMITED_WINDOW, paced=True, on_sent=on_sent)
        outflow.send(queue, part)

    def closed(self, stream: ProxiedStream) -> None:
        """A stream is closed on both sides."""
        self._writer.streams.pop(stream.id, None)

    def watch(self, stream: ProxiedStream) -> None:
        """Start the deadline timer of a stream."""
        self._host.watch(stream)

    def fail(self, stream: ProxiedStream, error: ServerError) -> None:
        """Fail a stream to which the grpcio server has sent no response yet, on both sides."""
        self._writer.fail_proxied(stream.id, to_status(error))
