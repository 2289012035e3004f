"""One connection that never blocks: a socket, and on it the client's own HTTP/2. See lines.py, which waits for it."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sardonyx_client._lane.connection import Connection
from sardonyx_client._lane.sockets import hand_over, tune
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import goaway

if TYPE_CHECKING:
    from sardonyx_client._lane.fields import FieldReader
    from sardonyx_client._lane.target import Address

__all__ = ["PolledLine"]

# Of one connection before the others have their turn.
_MOST_READS: Final = 64


class PolledLine:
    """Begins to connect at once.

    Args:
        address: Of the server.
        reader: Of header blocks; may be shared.

    Attributes:
        http: The calls on it. Once the server has spoken they may begin, see ``Connection.usable``.
        now_ns: When that happened which ends calls now, on the monotonic clock: answers were read, or time was over.

    Raises:
        OSError: There is no connection.
    """

    __slots__ = ("_socket", "_unsent", "http", "now_ns")

    def __init__(self, address: Address, reader: FieldReader) -> None:
        self.http = Connection(reader, None)
        self.now_ns = 0
        self._unsent: list[bytes | memoryview] = []
        self._socket = socket.socket(address[0], socket.SOCK_STREAM)
        self._socket.setblocking(False)  # noqa: FBT003  # its only argument
        tune(self._socket, None)
        problem = self._socket.connect_ex(address[1])
        if problem not in {0, errno.EINPROGRESS}:
            self._socket.close()
            raise OSError(problem, os.strerror(problem))

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    def flush(self) -> bool:
        """Hand over what there is to send; whether the system took all of it.

        Raises:
            OSError: The connection is gone.
        """
        http = self.http
        parts = self._unsent + http.take()
        with suppress(BlockingIOError):
            while parts:
                parts = hand_over(self._socket, parts)
                if not parts and http.written():
                    parts = http.take()
        self._unsent = parts
        return not parts

    def receive(self) -> None:
        """Take in what has come. Calls that have ended are told so.

        Raises:
            OSError: The connection is gone.
            Http2ConnectionError: The server broke the protocol.
        """
        http = self.http
        for _ in range(_MOST_READS):
            buffer = http.buffer
            room = len(buffer)
            try:
                size = self._socket.recv_into(buffer)
            except BlockingIOError:
                return
            if not size:
                raise ConnectionResetError("the server closed it")
            self.now_ns = time.monotonic_ns()
            http.received(size)
            if size < room:
                return

    def close(self, problem: Exception | None = None) -> None:
        """Disconnect. Calls on it fail.

        Args:
            problem: Why; None = it was of no more use.
        """
        if isinstance(problem, Http2ConnectionError):
            # Where it cannot be said, closing says the same.
            with suppress(OSError):
                self._socket.send(goaway(problem.code))
        self._socket.close()
        self.now_ns = time.monotonic_ns()
        self.http.lost(f"the connection was lost: {problem or 'it was closed'}")
