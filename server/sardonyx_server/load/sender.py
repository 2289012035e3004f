"""Sends one worker's part of a load over its connections, as an open or a closed loop.

It uses one thread, non-blocking sockets and the client's own HTTP/2: a request costs about ten microseconds of
CPU, so that the server is measured and not the generator. With grpc.aio it was 190 to 380 microseconds.

:class:`Calls` and :class:`Connections` abstract from the protocol; :func:`over_grpc` provides gRPC.
"""

from __future__ import annotations

import time
from itertools import repeat
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_client._http2.endpoint import parse_endpoint
from sardonyx_server.load.arrivals import Arrivals, arrivals_s
from sardonyx_server.load.calls import GrpcCalls
from sardonyx_server.load.connections import GrpcConnections
from sardonyx_server.load.counters import NOT_SENT, RunCounters
from sardonyx_server.load.loops import LoadGeneratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target

__all__ = ["MAX_IN_FLIGHT", "TICK_NS", "Calls", "Connections", "Sender", "over_grpc"]

MAX_IN_FLIGHT: Final = 8192
"""Most requests in flight in one worker. A server that far behind is overloaded; more would only fill memory."""

TICK_NS: Final = 250_000_000
"""Longest interval between two progress reports."""

_CONNECT_TIMEOUT_S: Final = 10.0
_NS_PER_S: Final = 1_000_000_000
# Of requests that are due at once, or overdue, this many are sent before polling: the server starts on the first.
_MAX_BURST: Final = 8
# Longest wait when no request is due.
_IDLE_WAIT_NS: Final = _NS_PER_S


class Calls(Protocol):
    """Requests in flight in one worker.

    Attributes:
        counters: Where requests are counted when they end.
        freed: Callers whose requests have ended since this list was last emptied; None = not recorded.
    """

    counters: RunCounters
    freed: list[int] | None

    def __len__(self) -> int: ...

    @property
    def some_wait(self) -> bool:
        """Whether requests are queued because no connection had room."""

    def send(self, due_ns: int, now_ns: int, caller: int, /) -> None:
        """Send a request that was due at ``due_ns``, or queue it until a connection has room."""

    def send_waiting(self, now_ns: int, /) -> None:
        """Send queued requests for which there is room now."""

    def refuse_waiting(self, now_ns: int, /) -> None:
        """Fail the queued requests: there is no connection left."""

    def expire(self, now_ns: int, /) -> int | None:
        """Fail requests past their deadline. Returns the next deadline; None if no request is open."""


class Connections(Protocol):
    """The connections of one worker.

    Attributes:
        on_answers: Called when requests may have ended on one of the connections.
        on_refusal: Called when no connection is left and none is being opened.
    """

    on_answers: Callable[[], None]
    on_refusal: Callable[[], None]

    def connect(self, timeout_s: float, /) -> None:
        """Open all connections. Blocks. Raises LoadGeneratorError."""

    def close(self) -> None:
        """Disconnect."""

    def poll(self, wait_ns: int, /) -> None:
        """Flush pending data, wait at most ``wait_ns`` for input, and process it."""


class Sender:
    """The open and the closed loop of one worker. Used by one thread.

    Args:
        calls: Its requests.
        connections: Its connections, which ``calls`` uses.
        worker_index: Index of this worker, from 0.
        worker_count: Number of workers.
    """

    def __init__(self, calls: Calls, connections: Connections, *, worker_index: int = 0, worker_count: int = 1) -> None:
        self._worker_index = worker_index
        self._worker_count = worker_count
        self._connections = connections
        self._calls = calls
        self._again: Callable[[], None] | None = None
        connections.on_answers = self._answers_came
        connections.on_refusal = lambda: calls.refuse_waiting(time.monotonic_ns())

    def connect(self) -> None:
        """Open all connections. Blocks.

        Raises:
            LoadGeneratorError: Not connected within 10 s.
            Interrupted: See ``connections``; also raised by the loops.
        """
        self._connections.connect(_CONNECT_TIMEOUT_S)

    def close(self) -> None:
        """Disconnect."""
        self._connections.close()

    def open_loop(
        self,
        load: OpenLoop,
        counters: RunCounters,
        *,
        start_ns: int,
        duration_s: float,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        """Send requests when they are due; returns when all are answered or have failed.

        Args:
            load: Of all workers together.
            counters: Where requests are counted.
            start_ns: Start of the run on the monotonic clock; latencies are measured from when a request was due.
            duration_s: Duration of the schedule.
            tick: Called periodically with the current time.
        """
        calls = self._calls
        calls.counters, calls.freed, self._again = counters, None, None
        schedule = arrivals_s(
            Arrivals(load.arrivals),
            rate=load.rate,
            duration_s=duration_s,
            seed=load.seed,
            worker_index=self._worker_index,
            worker_count=self._worker_count,
        )
        together = 0
        for number, at_s in enumerate(schedule):
            due_ns = start_ns + round(at_s * _NS_PER_S)
            while (now_ns := time.monotonic_ns()) < due_ns or together == _MAX_BURST:
                together = 0
                self._poll(due_ns, now_ns, tick)
            together += 1
            counters.record_sent(due_ns, now_ns)
            if len(calls) >= MAX_IN_FLIGHT:
                counters.record_failure(NOT_SENT, now_ns)
            else:
                calls.send(due_ns, now_ns, number)
        while len(calls):
            now_ns = time.monotonic_ns()
            self._poll(now_ns + _IDLE_WAIT_NS, now_ns, tick)

    def closed_loop(
        self,
        load: ClosedLoop,
        counters: RunCounters,
        *,
        start_ns: int,
        duration_s: float,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        """Send the requests of this worker's callers; returns when all are answered or have failed.

        Callers are distributed over the connections; each sends all its requests over the same one.
        """
        calls = self._calls
        end_ns = start_ns + round(duration_s * _NS_PER_S)
        left: Iterator[object] = repeat(None) if load.requests is None else repeat(None, self._part(load.requests))
        calls.counters, calls.freed = counters, list(range(self._part(load.concurrency)))

        def ask_again() -> None:
            freed, calls.freed = calls.freed or (), []
            for caller in freed:
                now_ns = time.monotonic_ns()
                if now_ns < end_ns and next(left, counters) is None:
                    counters.sent += 1
                    calls.send(now_ns, now_ns, caller)

        self._again = None
        while (now_ns := time.monotonic_ns()) < start_ns:
            self._poll(start_ns, now_ns, tick)
        # Called as soon as calls have ended, before the next connection is read.
        self._again = ask_again
        ask_again()
        while len(calls) or calls.freed:
            now_ns = time.monotonic_ns()
            self._poll(now_ns + _IDLE_WAIT_NS, now_ns, tick)

    def _answers_came(self) -> None:
        if self._calls.some_wait:
            self._calls.send_waiting(time.monotonic_ns())
        if self._again is not None:
            self._again()

    def _poll(self, until_ns: int, now_ns: int, tick: Callable[[int], None] | None) -> None:
        """Flush pending requests, wait for answers until ``until_ns`` at the latest, and process them."""
        calls = self._calls
        expiry_ns = calls.expire(now_ns)
        if calls.freed and self._again is not None:
            self._again()
            expiry_ns = calls.expire(now_ns)
        if expiry_ns is not None:
            until_ns = min(until_ns, expiry_ns)
        if tick is not None:
            tick(now_ns)
            until_ns = min(until_ns, now_ns + TICK_NS)
        self._connections.poll(until_ns - now_ns)

    def _part(self, whole: int) -> int:
        """This worker's part of a number of requests or callers."""
        return whole // self._worker_count + (self._worker_index < whole % self._worker_count)


def over_grpc(
    target: Target, *, connections: int, worker_index: int = 0, worker_count: int = 1, interrupt: int | None = None
) -> Sender:
    """A sender of unary gRPC calls.

    Args:
        target: What is sent where.
        connections: Number of HTTP/2 connections; at least 1.
        worker_index: See :class:`Sender`.
        worker_count: Likewise.
        interrupt: See :class:`~sardonyx_server.load.connections.GrpcConnections`.

    Raises:
        LoadGeneratorError: The address cannot be connected to directly.
    """
    server = parse_endpoint(target.address, {})
    if server is None:
        raise LoadGeneratorError(f"expected HOST:PORT or unix:PATH of a server, got {target.address!r}")
    opened = GrpcConnections(server, connections, interrupt=interrupt)
    # Workers start with different messages.
    calls = GrpcCalls(target, server.authority, opened, first=worker_index, counters=RunCounters(0))
    return Sender(calls, opened, worker_index=worker_index, worker_count=worker_count)
