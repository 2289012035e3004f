"""The connections of one worker, and the select() loop that waits for them.

A lost connection is reopened. One that the server closes with GOAWAY, or that has used up its stream ids, finishes its
calls while a new connection takes its place.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from sardonyx_client._http2.response_headers import HeaderDecoder
from sardonyx_server.load.connection import NonBlockingConnection
from sardonyx_server.load.loops import LoadGeneratorError
from sardonyx_wire.http2.errors import Http2ConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._http2.endpoint import Address, Endpoint

__all__ = ["GrpcConnections", "Interrupted"]

_PAUSE_NS: Final = 100_000_000
"""Delay before reconnecting: short compared with the restart of a server, long compared with a request."""

_NS_PER_S: Final = 1_000_000_000
# FD_SETSIZE: select(2) accepts no file descriptor from this number on.
_MAX_FILES: Final = 1024


class Interrupted(Exception):
    """The file that may interrupt the wait has become readable."""


class GrpcConnections:
    """Connections to one server. Used by one thread.

    Args:
        target: The server.
        count: Number of connections; at least 1.
        interrupt: File descriptor that interrupts the wait when it becomes readable; None = never.

    Attributes:
        on_answers: Called when calls may have ended on one of the connections.
        on_refusal: Called when no connection is left and none is being opened.
    """

    def __init__(self, target: Endpoint, count: int, *, interrupt: int | None) -> None:
        self._target = target
        self._reader = HeaderDecoder()
        self._interrupt = -1 if interrupt is None else interrupt
        # By file descriptor: the connections to read from, and those with unsent data.
        self._read: dict[int, NonBlockingConnection | None] = {} if interrupt is None else {interrupt: None}
        self._blocked: set[int] = set()
        self._addresses: list[Address] = []
        self._slots: list[NonBlockingConnection | None] = [None] * count
        self._missing = count
        self._retry_ns = 0
        self._unflushed: set[NonBlockingConnection] = set()
        self.on_answers: Callable[[], None] = _nothing
        self.on_refusal: Callable[[], None] = _nothing
        self._problem: Exception | None = None

    def connect(self, timeout_s: float) -> None:
        """Resolve the address and open all connections. Blocks.

        Raises:
            Interrupted: See ``interrupt``.
            LoadGeneratorError: Not all connections were established in time; has the reason if it is known.
        """
        authority = self._target.authority
        until_ns = time.monotonic_ns() + round(timeout_s * _NS_PER_S)
        try:
            self._addresses = _addresses(self._target)
        except (OSError, UnicodeError) as error:
            raise LoadGeneratorError(f"no connection to {authority}: {error}") from error
        while not all(connection is not None and connection.http.ready for connection in self._slots):
            left_ns = until_ns - time.monotonic_ns()
            if left_ns <= 0:
                reason = self._problem or "no answer"
                raise LoadGeneratorError(f"no connection to {authority} within {timeout_s:g} s: {reason}")
            self.poll(left_ns)

    def close(self) -> None:
        """Disconnect. Calls in flight fail."""
        for connection in self._read.values():
            if connection is not None:
                connection.close()

    def usable(self, number: int) -> NonBlockingConnection | None:
        """The connection with that number, or another that can carry a call; None if there is none now."""
        slots = self._slots
        count = len(slots)
        for index in range(number, number + count):
            connection = slots[index % count]
            if connection is not None and connection.http.usable:
                return connection
        return None

    def flush_soon(self, connection: NonBlockingConnection) -> None:
        """Have the next :meth:`poll` flush this connection."""
        self._unflushed.add(connection)

    def poll(self, wait_ns: int) -> None:
        """Flush pending data, wait at most ``wait_ns`` for input, and process it.

        Raises:
            Interrupted: See ``interrupt``.
        """
        if self._missing:
            wait_ns = min(wait_ns, self._open(time.monotonic_ns()))
        self._flush()
        # epoll has millisecond resolution; shorter waits would need a second system call.
        readable, writable, _ = select.select(self._read, self._blocked, (), max(wait_ns, 0) / _NS_PER_S)
        for number in writable:
            connection = self._read.get(number)
            if connection is not None:
                self._unflushed.add(connection)
        self._flush()
        for number in readable:
            connection = self._read.get(number)
            if connection is not None:
                self._receive(connection)
                self.on_answers()
                self._flush()
            elif number == self._interrupt:
                raise Interrupted

    def _receive(self, connection: NonBlockingConnection) -> None:
        try:
            connection.receive()
        except (OSError, Http2ConnectionError) as error:
            self._lose(connection, error)
            return
        if connection.http.draining:
            self._replace(connection)
            if not connection.http.open_streams:
                self._drop(connection)
                return
        if connection.http.outbox:
            self._unflushed.add(connection)

    def _flush(self) -> None:
        while self._unflushed:
            connection = self._unflushed.pop()
            try:
                done = connection.flush()
            except OSError as error:
                self._lose(connection, error)
                self.on_answers()
            else:
                (self._blocked.discard if done else self._blocked.add)(connection.fileno())

    def _open(self, now_ns: int) -> int:
        """Open missing connections if the retry delay is over. Returns the time until the next attempt."""
        if now_ns >= self._retry_ns:
            for index, connection in enumerate(self._slots):
                if connection is None:
                    try:
                        opened = NonBlockingConnection(self._addresses[0], self._reader)
                    except OSError as error:
                        self._failed(error)
                        break
                    self._slots[index] = opened
                    self._missing -= 1
                    number = opened.fileno()
                    if number >= _MAX_FILES:
                        opened.close()
                        raise LoadGeneratorError(
                            f"{len(self._slots)} connections are too many for one sending process; use more processes"
                        )
                    self._read[number] = opened
                    self._blocked.add(number)  # until connected, which makes it writable
        return max(self._retry_ns - now_ns, 0) if self._missing else _PAUSE_NS

    def _lose(self, connection: NonBlockingConnection, problem: Exception) -> None:
        spoke = connection.http.ready
        self._drop(connection, problem)
        if self._replace(connection):
            self._failed(problem, spoke=spoke)

    def _failed(self, problem: Exception, *, spoke: bool = False) -> None:
        """A connection failed. If it was never established, the next attempt uses the next address."""
        self._problem = problem
        self._retry_ns = time.monotonic_ns() + _PAUSE_NS
        if not spoke:
            self._addresses = [*self._addresses[1:], self._addresses[0]]
        if not any(self._slots):
            self.on_refusal()

    def _replace(self, connection: NonBlockingConnection) -> bool:
        """Free the slot of a connection; returns whether it still had one."""
        if connection not in self._slots:
            return False
        self._slots[self._slots.index(connection)] = None
        self._missing += 1
        return True

    def _drop(self, connection: NonBlockingConnection, problem: Exception | None = None) -> None:
        self._unflushed.discard(connection)
        number = connection.fileno()
        del self._read[number]
        self._blocked.discard(number)
        connection.close(problem)


def _addresses(target: Endpoint) -> list[Address]:
    """The addresses of the server, in order of preference."""
    if target.path:
        return [(socket.AF_UNIX, target.path)]
    infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return [(info[0], info[4]) for info in infos]


def _nothing() -> None:
    """The default callback: does nothing."""
