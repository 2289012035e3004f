"""One non-blocking connection: a socket with the client's own HTTP/2. connections.py polls it."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sardonyx_client._http2.connection import Http2Connection
from sardonyx_client._http2.sockets import configure_socket, send_parts
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import goaway

if TYPE_CHECKING:
    from sardonyx_client._http2.endpoint import Address
    from sardonyx_client._http2.response_headers import HeaderDecoder

__all__ = ["NonBlockingConnection"]

# Of one connection in a row, for fairness to the others.
_MAX_READS: Final = 64


class NonBlockingConnection:
    """A non-blocking connection; the constructor starts to connect.

    Args:
        address: Of the server.
        reader: Decodes header blocks; may be shared.

    Attributes:
        http: The HTTP/2 connection. Calls may start once it is ``usable``, after the settings of the server.
        now_ns: Monotonic time of the event that ends calls now: answers were read, or a deadline passed.

    Raises:
        OSError: The connection failed at once.
    """

    __slots__ = ("_socket", "_unsent", "http", "now_ns")

    def __init__(self, address: Address, reader: HeaderDecoder) -> None:
        self.http = Http2Connection(reader, None)
        self.now_ns = 0
        self._unsent: list[bytes | memoryview] = []
        self._socket = socket.socket(address[0], socket.SOCK_STREAM)
        self._socket.setblocking(False)  # noqa: FBT003  # its only argument
        configure_socket(self._socket, None)
        problem = self._socket.connect_ex(address[1])
        if problem not in {0, errno.EINPROGRESS}:
            self._socket.close()
            raise OSError(problem, os.strerror(problem))

    def fileno(self) -> int:
        """File descriptor of the socket."""
        return self._socket.fileno()

    def flush(self) -> bool:
        """Write pending data; returns whether all of it was written.

        Raises:
            OSError: The connection is gone.
        """
        http = self.http
        parts = self._unsent + http.data_to_send()
        with suppress(BlockingIOError):
            while parts:
                parts = send_parts(self._socket, parts)
                if not parts and http.data_sent():
                    parts = http.data_to_send()
        self._unsent = parts
        return not parts

    def receive(self) -> None:
        """Read and process what has arrived. Calls that have ended are notified.

        Raises:
            OSError: The connection is gone.
            Http2ConnectionError: The server broke the protocol.
        """
        http = self.http
        for _ in range(_MAX_READS):
            buffer = http.buffer
            room = len(buffer)
            try:
                size = self._socket.recv_into(buffer)
            except BlockingIOError:
                return
            if not size:
                raise ConnectionResetError("closed by the server")
            self.now_ns = time.monotonic_ns()
            http.buffer_updated(size)
            if size < room:
                return

    def close(self, problem: Exception | None = None) -> None:
        """Disconnect. Open calls fail.

        Args:
            problem: The reason; None = it is no longer needed.
        """
        if isinstance(problem, Http2ConnectionError):
            # If GOAWAY cannot be sent, closing the socket has to do.
            with suppress(OSError):
                self._socket.send(goaway(problem.code))
        self._socket.close()
        self.now_ns = time.monotonic_ns()
        self.http.connection_lost(f"the connection was lost: {problem or 'it was closed'}")
