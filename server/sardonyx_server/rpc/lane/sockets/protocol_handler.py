"""Who handles the bytes of a socket: a caller's connection, or a relay to the stock server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.flow_control.outflow import Outflow
    from sardonyx_wire.http2.errors import Http2ConnectionError

__all__ = ["ProtocolHandler"]


class ProtocolHandler(Protocol):
    """What a transport asks of it.

    Attributes:
        outflow: What is to be written.
    """

    outflow: Outflow

    def receive(self, data: bytes) -> None:
        """Bytes were read. Raises Http2ConnectionError."""

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next bytes may be read to directly, told by :meth:`buffer_updated`."""
        ...

    @property
    def preface_received(self) -> bool:
        """Whether the other side has said that it speaks HTTP/2."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be said, once all is written."""
        ...

    def buffer_updated(self, size: int) -> None:
        """So many bytes were read into :attr:`receive_buffer`."""

    def written(self) -> None:
        """The socket has taken all there was, and little more could have been put ahead of it."""

    def abort(self, error: Http2ConnectionError) -> None:
        """The other side broke the protocol."""

    def connection_lost(self) -> None:
        """The transport is closed."""
