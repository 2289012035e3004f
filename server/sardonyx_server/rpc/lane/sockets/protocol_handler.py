"""Interface of the handler of a socket's bytes: a client's connection, or an upstream connection of the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.flow_control.outflow import Outflow
    from sardonyx_wire.http2.errors import Http2ConnectionError

__all__ = ["ProtocolHandler"]


class ProtocolHandler(Protocol):
    """The protocol handler of one transport.

    Attributes:
        outflow: The output.
    """

    outflow: Outflow

    def receive(self, data: bytes) -> None:
        """Process bytes that were read. Raises Http2ConnectionError."""

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next bytes, followed by :meth:`buffer_updated`; None = use :meth:`receive`."""
        ...

    @property
    def preface_received(self) -> bool:
        """Whether the peer has sent the preface of HTTP/2."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the connection can be closed once all output is written."""
        ...

    def buffer_updated(self, size: int) -> None:
        """``size`` bytes were read into :attr:`receive_buffer`."""

    def written(self) -> None:
        """The socket has accepted all output, and the write credit is low."""

    def abort(self, error: Http2ConnectionError) -> None:
        """The peer violated the protocol."""

    def connection_lost(self) -> None:
        """The transport is closed."""
