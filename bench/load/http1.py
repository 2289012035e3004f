"""HTTP/1.1 in the project's own load generator, for servers without gRPC: ``python -m bench.load.http1``.

It is a worker of :class:`~sardonyx_server.load.worker_pool.WorkerPool`. Arrivals, latencies and slip are computed by
the same code as for gRPC, so that servers can be compared at equal rates whatever protocol they speak.
"""

from __future__ import annotations

import select
import time
from collections import OrderedDict, deque
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from bench.load.http1_connection import Head, Http1Connection, read_head
from sardonyx_server.load.connections import Interrupted
from sardonyx_server.load.counters import WRONG_ANSWER, RunCounters
from sardonyx_server.load.loops import LoadGeneratorError
from sardonyx_server.load.sender import Sender
from sardonyx_server.load.worker import run_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.load.loops import Target

__all__ = ["HTTP1_WORKER", "over_http1"]

HTTP1_WORKER: Final = "bench.load.http1"
"""Worker module for a ``WorkerPool``."""

_NS_PER_S: Final = 1_000_000_000
_READ_BYTES: Final = 256 * 1024
_OK: Final = 200


def over_http1(
    target: Target, *, connections: int, worker_index: int = 0, worker_count: int = 1, interrupt: int | None = None
) -> Sender:
    """A sender of POST requests, one at a time on each connection.

    Args:
        target: Its method is the path, its messages are the bodies, its ``answer_bytes`` the length of answers' bodies.
        connections: At least 1: as many requests may be under way, and the rest wait for one of them.
        worker_index: See :class:`~sardonyx_server.load.sender.Sender`.
        worker_count: Likewise.
        interrupt: A file; when it can be read, whoever waits is interrupted. None = nothing interrupts.

    Raises:
        LoadGeneratorError: The address is not HOST:PORT.
    """
    exchanges = Exchanges(target, connections, first=worker_index, interrupt=interrupt)
    return Sender(exchanges, exchanges, worker_index=worker_index, worker_count=worker_count)


class Exchanges:
    """Requests under way, and the connections they are on: ``Calls`` and ``Connections`` of a sender in one.

    Args:
        target: Address and messages.
        connections: Number of connections.
        first: Number of the message that is sent first.
        interrupt: See :func:`over_http1`.

    Attributes:
        counters: Where requests are counted when they end.
        freed: See :class:`~sardonyx_server.load.sender.Calls`.
        on_answers: See :class:`~sardonyx_server.load.sender.Connections`.
        on_refusal: Likewise; never called, because a server that takes no connection ends the run.
    """

    def __init__(self, target: Target, connections: int, *, first: int, interrupt: int | None) -> None:
        host, colon, port = target.address.rpartition(":")
        if not colon or not port.isdecimal():
            raise LoadGeneratorError(f"expected HOST:PORT of a server, got {target.address!r}")
        self.counters = RunCounters(0)
        self.freed: list[int] | None = None
        self.on_answers: Callable[[], None] = _nothing
        self.on_refusal: Callable[[], None] = _nothing
        self._address = (host, int(port))
        self._count = connections
        self._answer_bytes = target.answer_bytes
        self._timeout_ns = round(target.timeout_s * _NS_PER_S)
        self._connect_s = target.timeout_s
        requests = [_request(target, message) for message in target.messages]
        self._requests = islice(cycle(requests), first % len(requests), None)
        self._buffer = bytearray(_READ_BYTES)
        self._interrupt = -1 if interrupt is None else interrupt
        # By number of the file: those to read from, and of those the ones that did not take all that is to be sent.
        self._read: dict[int, Http1Connection | None] = {} if interrupt is None else {interrupt: None}
        self._blocked: set[int] = set()
        self._idle: deque[Http1Connection] = deque()
        # The oldest first.
        self._under_way: OrderedDict[Http1Connection, None] = OrderedDict()
        # (when it was due, when it is given up, its caller)
        self._waiting: deque[tuple[int, int, int]] = deque()

    def __len__(self) -> int:
        return len(self._under_way) + len(self._waiting)

    def connect(self, timeout_s: float) -> None:
        """Open all connections. Blocks. Raises LoadGeneratorError."""
        self._connect_s = timeout_s
        for _ in range(self._count):
            self._idle.append(self._open())

    def close(self) -> None:
        """Disconnect."""
        for connection in self._read.values():
            if connection is not None:
                connection.socket.close()

    @property
    def some_wait(self) -> bool:
        """Whether there is one for which no connection is free."""
        return bool(self._waiting)

    def send(self, due_ns: int, now_ns: int, caller: int) -> None:
        """Send a request, or have it wait for a connection that is free."""
        self._waiting.append((due_ns, now_ns + self._timeout_ns, caller))
        self.send_waiting(now_ns)

    def send_waiting(self, _now_ns: int) -> None:
        """Send waiting requests for which a connection is free."""
        while self._waiting and self._idle:
            connection = self._idle.popleft()
            connection.start(next(self._requests), *self._waiting.popleft())
            self._under_way[connection] = None
            self._flush(connection)

    def refuse_waiting(self, now_ns: int) -> None:
        """Fail waiting requests because there is no connection."""
        while self._waiting:
            self._failed(self._waiting.popleft()[2], "UNAVAILABLE", now_ns)

    def expire(self, now_ns: int) -> int | None:
        """Fail requests whose deadline has passed. Returns the next deadline; None if there is none."""
        while self._waiting and self._waiting[0][1] <= now_ns:
            self._failed(self._waiting.popleft()[2], "DEADLINE_EXCEEDED", now_ns)
        while self._under_way:
            connection = next(iter(self._under_way))
            if connection.deadline_ns > now_ns:
                return connection.deadline_ns
            # Its answer may come still, where the next one's is expected.
            self._end(connection)
            self._failed(connection.caller, "DEADLINE_EXCEEDED", now_ns)
            self._replace(connection)
        return self._waiting[0][1] if self._waiting else None

    def poll(self, wait_ns: int) -> None:
        """Wait for events for at most ``wait_ns``, and process them.

        Raises:
            Interrupted: See ``interrupt``.
            LoadGeneratorError: The server takes no connections any more.
        """
        # epoll would count in milliseconds.
        readable, writable, _ = select.select(self._read, self._blocked, (), max(wait_ns, 0) / _NS_PER_S)
        for number in writable:
            connection = self._read.get(number)
            if connection is not None:
                self._flush(connection)
        for number in readable:
            connection = self._read.get(number)
            if connection is not None:
                self._receive(connection)
                self.on_answers()
            elif number == self._interrupt:
                raise Interrupted

    def _flush(self, connection: Http1Connection) -> None:
        try:
            done = connection.flush()
        except OSError:
            self._lost(connection)
        else:
            (self._blocked.discard if done else self._blocked.add)(connection.socket.fileno())

    def _receive(self, connection: Http1Connection) -> None:
        try:
            size = connection.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size or not connection.request:
            self._lost(connection)  # or it says something unasked, which may be half of anything
            return
        if connection.answer is None:
            connection.received += memoryview(self._buffer)[:size]
            connection.answer = read_head(connection.received)
            if connection.answer is None:
                return
            connection.missing = connection.answer.head_bytes + connection.answer.body_bytes - len(connection.received)
        else:
            connection.missing -= size
        if connection.missing < 0:
            self._lost(connection)
        elif not connection.missing:
            self._answered(connection, connection.answer)

    def _answered(self, connection: Http1Connection, answer: Head) -> None:
        now_ns = time.monotonic_ns()
        self._end(connection)
        connection.answers += 1
        if answer.status != _OK:
            self._failed(connection.caller, f"HTTP {answer.status}", now_ns)
        elif self._answer_bytes is not None and answer.body_bytes != self._answer_bytes:
            self._failed(connection.caller, WRONG_ANSWER, now_ns)
        else:
            self.counters.record_answer(connection.due_ns, now_ns)
            if self.freed is not None:
                self.freed.append(connection.caller)
        if answer.closes:
            self._replace(connection)
        else:
            self._idle.append(connection)

    def _lost(self, connection: Http1Connection) -> None:
        """The server has closed it. It may have done so for idleness just as a request was sent: that is sent again."""
        if not connection.request:
            self._idle.remove(connection)
            self._replace(connection)
            return
        request, again = connection.request, connection.answers and not connection.received
        self._end(connection)
        if not again:
            self._failed(connection.caller, "UNAVAILABLE", time.monotonic_ns())
            self._replace(connection)
            return
        self._drop(connection)
        other = self._open()
        other.start(request, connection.due_ns, connection.deadline_ns, connection.caller)
        self._under_way[other] = None
        self._flush(other)

    def _end(self, connection: Http1Connection) -> None:
        del self._under_way[connection]
        connection.request = b""

    def _failed(self, caller: int, status: str, now_ns: int) -> None:
        self.counters.record_failure(status, now_ns)
        if self.freed is not None:
            self.freed.append(caller)

    def _open(self) -> Http1Connection:
        try:
            connection = Http1Connection(self._address, self._connect_s)
        except OSError as error:
            host, port = self._address
            raise LoadGeneratorError(f"no connection to {host}:{port}: {error}") from error
        self._read[connection.socket.fileno()] = connection
        return connection

    def _drop(self, connection: Http1Connection) -> None:
        number = connection.socket.fileno()
        del self._read[number]
        self._blocked.discard(number)
        connection.socket.close()

    def _replace(self, connection: Http1Connection) -> None:
        self._drop(connection)
        self._idle.append(self._open())


def _request(target: Target, body: bytes) -> bytes:
    head = (
        f"POST {target.method} HTTP/1.1\r\nHost: {target.address}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def _nothing() -> None:
    """The default callback."""


if __name__ == "__main__":
    run_worker(over_http1)
