"""Requests in flight in one worker: sent, waiting for a connection, answered, failed or timed out. Reads no clock.

sender.py decides which request is sent when.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from sardonyx_client._http2.errors import Http2RpcError, deadline_exceeded
from sardonyx_client._http2.request_headers import RequestHeaderEncoder
from sardonyx_server.load.counters import WRONG_ANSWER
from sardonyx_server.load.loops import LoadGeneratorError

if TYPE_CHECKING:
    from sardonyx_client._http2.stream import Stream
    from sardonyx_server.load.connection import NonBlockingConnection
    from sardonyx_server.load.connections import GrpcConnections
    from sardonyx_server.load.counters import RunCounters
    from sardonyx_server.load.loops import Target

__all__ = ["GrpcCalls"]

_NS_PER_S: Final = 1_000_000_000


class GrpcCalls:
    """Unary calls to one target over one worker's connections. Not thread-safe.

    Args:
        target: What is sent where.
        authority: Of the server.
        connections: Used for the calls.
        first: Index of the message that is sent first.
        counters: See the attribute.

    Attributes:
        counters: Where calls are counted when they end.
        freed: Callers whose calls have ended since this list was last emptied; None = not recorded.
    """

    def __init__(
        self, target: Target, authority: str, connections: GrpcConnections, *, first: int, counters: RunCounters
    ) -> None:
        self.counters = counters
        self.freed: list[int] | None = None
        self._timeout_ns = round(target.timeout_s * _NS_PER_S)
        self._answer_bytes = target.answer_bytes
        self._header_encoder = RequestHeaderEncoder(authority, target.method)
        self._metadata = target.metadata
        self._block = self._block_of(target.timeout_s)
        self._messages = islice(cycle(target.messages), first % len(target.messages), None)
        self._connections = connections
        # Stream -> (due_ns, deadline_ns, caller, connection), the oldest first.
        self._in_flight: OrderedDict[Stream, tuple[int, int, int, NonBlockingConnection]] = OrderedDict()
        # (due_ns, deadline_ns, caller) of requests that no connection had room for yet.
        self._waiting: deque[tuple[int, int, int]] = deque()

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._waiting)

    def send(self, due_ns: int, now_ns: int, caller: int) -> None:
        """Send a request, or queue it until a connection has room.

        Args:
            due_ns: When it was due; its latency is measured from then.
            now_ns: Start of its timeout.
            caller: Number of the caller; equal numbers use the same connection as long as it has room.
        """
        deadline_ns = now_ns + self._timeout_ns
        connection = None if self._waiting else self._connections.usable(caller)
        if connection is None:
            self._waiting.append((due_ns, deadline_ns, caller))
        else:
            self._begin(connection, self._block, due_ns, deadline_ns, caller)

    @property
    def some_wait(self) -> bool:
        """Whether requests are queued because no connection had room."""
        return bool(self._waiting)

    def send_waiting(self, now_ns: int) -> None:
        """Send queued requests for which there is room now. Their timeouts keep running."""
        while self._waiting:
            due_ns, deadline_ns, caller = self._waiting[0]
            connection = self._connections.usable(caller)
            if connection is None:
                return
            self._waiting.popleft()
            block = self._block_of(max(deadline_ns - now_ns, 0) / _NS_PER_S)
            self._begin(connection, block, due_ns, deadline_ns, caller)

    def refuse_waiting(self, now_ns: int) -> None:
        """Fail the queued requests: there is no connection left."""
        while self._waiting:
            self._fail_waiting("UNAVAILABLE", now_ns)

    def expire(self, now_ns: int) -> int | None:
        """Fail requests past their deadline. Returns the next deadline; None if no request is open."""
        while self._waiting and self._waiting[0][1] <= now_ns:
            self._fail_waiting("DEADLINE_EXCEEDED", now_ns)
        next_ns = self._waiting[0][1] if self._waiting else None
        while self._in_flight:
            stream, (_, deadline_ns, _, connection) = next(iter(self._in_flight.items()))
            if deadline_ns > now_ns:
                return deadline_ns if next_ns is None else min(deadline_ns, next_ns)
            connection.now_ns = now_ns
            connection.http.cancel_stream(stream)
            self._connections.flush_soon(connection)
            stream.response.fail(deadline_exceeded())
        return next_ns

    def _begin(
        self, connection: NonBlockingConnection, block: bytes, due_ns: int, deadline_ns: int, caller: int
    ) -> None:
        stream = connection.http.open_stream(block, next(self._messages))
        stream.response.on_end = partial(self._ended, stream)
        self._in_flight[stream] = due_ns, deadline_ns, caller, connection
        self._connections.flush_soon(connection)

    def _ended(self, stream: Stream) -> None:
        due_ns, _, caller, connection = self._in_flight.pop(stream)
        response = stream.response
        response.on_end = None  # breaks the reference cycle answer -> callback -> stream -> answer
        try:
            message = response.message()
        except Http2RpcError as failure:
            self.counters.record_failure(failure.code().name, connection.now_ns)
        else:
            if self._answer_bytes is None or len(message) == self._answer_bytes:
                self.counters.record_answer(due_ns, connection.now_ns)
            else:
                self.counters.record_failure(WRONG_ANSWER, connection.now_ns)
        if self.freed is not None:
            self.freed.append(caller)

    def _fail_waiting(self, status: str, now_ns: int) -> None:
        caller = self._waiting.popleft()[2]
        self.counters.record_failure(status, now_ns)
        if self.freed is not None:
            self.freed.append(caller)

    def _block_of(self, timeout_s: float) -> bytes:
        block = self._header_encoder.encode(timeout_s, self._metadata)
        if block is None:
            raise LoadGeneratorError("the metadata to send are not plain, or have more than 8 KiB")
        return block
