"""Sends one process's share of a load over its connections. Knows neither its fleet nor how a run is judged.

One thread, sockets that never block, and the HTTP/2 of the client's lane: a request costs some ten microseconds, so
that what is measured is the server. On grpc.aio it was 190 to 380.

What the requests are made of is a matter of :class:`Calls` and :class:`Lines`: here of gRPC, see :func:`over_grpc`.
"""

from __future__ import annotations

import time
from itertools import repeat
from typing import TYPE_CHECKING, Final, Protocol

from sardonyx_client._lane.target import lane_target
from sardonyx_server.load.arrivals import Arrivals, arrivals_s
from sardonyx_server.load.calls import GrpcCalls
from sardonyx_server.load.lines import GrpcLines
from sardonyx_server.load.loops import LoadFailed
from sardonyx_server.load.tally import NOT_SENT, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target

__all__ = ["MAX_IN_FLIGHT", "TICK_NS", "Calls", "Lines", "Sender", "over_grpc"]

MAX_IN_FLIGHT: Final = 8192
"""Requests under way in one process. A server that far behind is overloaded; more would only fill memory."""

TICK_NS: Final = 250_000_000
"""Between two ticks, at most."""

_CONNECT_TIMEOUT_S: Final = 10.0
_NS_PER_S: Final = 1_000_000_000
# Requests that are due at once, or overdue, go out so many at a time: the server begins with the first meanwhile.
_TOGETHER: Final = 8
# Of a wait for answers alone.
_LONG_NS: Final = _NS_PER_S


class Calls(Protocol):
    """Requests under way in one process.

    Attributes:
        tally: Where they are counted when they end.
        freed: The callers whose requests have ended, until somebody takes them; None = nobody wants to know.
    """

    tally: Tally
    freed: list[int] | None

    def __len__(self) -> int: ...

    @property
    def some_wait(self) -> bool:
        """Whether there is one for which no connection had room."""

    def send(self, due_ns: int, now_ns: int, caller: int, /) -> None:
        """Send a request that was due then, or have it wait for a connection that has room."""

    def send_waiting(self, now_ns: int, /) -> None:
        """Send those for which there is room now."""

    def refuse_waiting(self, now_ns: int, /) -> None:
        """There is no connection, so those that wait for one fail."""

    def expire(self, now_ns: int, /) -> int | None:
        """Give up those whose time is over. Returns when the next one's is; None where there is none."""


class Lines(Protocol):
    """The connections of one process.

    Attributes:
        on_answers: Called when requests may have ended on one of the connections.
        on_refusal: Called when there is no connection left, and none is being opened.
    """

    on_answers: Callable[[], None]
    on_refusal: Callable[[], None]

    def connect(self, timeout_s: float, /) -> None:
        """Open all connections. Blocks. Raises LoadFailed."""

    def close(self) -> None:
        """Disconnect."""

    def turn(self, wait_ns: int, /) -> None:
        """Send what is to be sent, wait at most so long until something comes, and take that in."""


class Sender:
    """What one process sends. Used by one thread.

    Args:
        calls: Its requests.
        lines: Its connections, those that ``calls`` use.
        share: Number of this process in its fleet, from 0.
        shares: Processes in the fleet.
    """

    def __init__(self, calls: Calls, lines: Lines, *, share: int = 0, shares: int = 1) -> None:
        self._share = share
        self._shares = shares
        self._lines = lines
        self._calls = calls
        self._again: Callable[[], None] | None = None
        lines.on_answers = self._answers_came
        lines.on_refusal = lambda: calls.refuse_waiting(time.monotonic_ns())

    def connect(self) -> None:
        """Open all connections. Blocks.

        Raises:
            LoadFailed: Not within 10 s.
            Interrupted: As for the next two.
        """
        self._lines.connect(_CONNECT_TIMEOUT_S)

    def close(self) -> None:
        """Disconnect."""
        self._lines.close()

    def open_loop(
        self,
        load: OpenLoop,
        tally: Tally,
        *,
        start_ns: int,
        duration_s: float,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        """Send requests when they are due; ends when all are answered or have failed.

        Args:
            load: The whole fleet's.
            tally: Where they are counted.
            start_ns: Of the run, on the monotonic clock; the latency of a request counts from when it was due.
            duration_s: None is due at or after the end of it.
            tick: Called in between, again and again, with the time.
        """
        calls = self._calls
        calls.tally, calls.freed, self._again = tally, None, None
        schedule = arrivals_s(
            Arrivals(load.arrivals),
            rate=load.rate,
            duration_s=duration_s,
            seed=load.seed,
            share=self._share,
            shares=self._shares,
        )
        together = 0
        for number, at_s in enumerate(schedule):
            due_ns = start_ns + round(at_s * _NS_PER_S)
            while (now_ns := time.monotonic_ns()) < due_ns or together == _TOGETHER:
                together = 0
                self._turn(due_ns, now_ns, tick)
            together += 1
            tally.due(due_ns, now_ns)
            if len(calls) >= MAX_IN_FLIGHT:
                tally.failed(NOT_SENT, now_ns)
            else:
                calls.send(due_ns, now_ns, number)
        while len(calls):
            now_ns = time.monotonic_ns()
            self._turn(now_ns + _LONG_NS, now_ns, tick)

    def closed_loop(
        self,
        load: ClosedLoop,
        tally: Tally,
        *,
        start_ns: int,
        duration_s: float,
        tick: Callable[[int], None] | None = None,
    ) -> None:
        """Send the requests of this process's share of callers; ends when all are answered or have failed.

        Callers are spread over the connections, and each sends all its requests over its own.
        """
        calls = self._calls
        end_ns = start_ns + round(duration_s * _NS_PER_S)
        left: Iterator[object] = repeat(None) if load.requests is None else repeat(None, self._part(load.requests))
        calls.tally, calls.freed = tally, list(range(self._part(load.concurrency)))

        def ask_again() -> None:
            freed, calls.freed = calls.freed or (), []
            for caller in freed:
                now_ns = time.monotonic_ns()
                if now_ns < end_ns and next(left, tally) is None:
                    tally.sent += 1
                    calls.send(now_ns, now_ns, caller)

        self._again = None
        while (now_ns := time.monotonic_ns()) < start_ns:
            self._turn(start_ns, now_ns, tick)
        # Called as soon as calls have ended, before the next connection is looked at.
        self._again = ask_again
        ask_again()
        while len(calls) or calls.freed:
            now_ns = time.monotonic_ns()
            self._turn(now_ns + _LONG_NS, now_ns, tick)

    def _answers_came(self) -> None:
        if self._calls.some_wait:
            self._calls.send_waiting(time.monotonic_ns())
        if self._again is not None:
            self._again()

    def _turn(self, until_ns: int, now_ns: int, tick: Callable[[int], None] | None) -> None:
        """Send what was made ready, wait for answers until then at most, and take them in."""
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
        self._lines.turn(until_ns - now_ns)

    def _part(self, whole: int) -> int:
        """This process's part of so many."""
        return whole // self._shares + (self._share < whole % self._shares)


def over_grpc(
    target: Target, *, connections: int, share: int = 0, shares: int = 1, interrupt: int | None = None
) -> Sender:
    """Of unary gRPC calls.

    Args:
        target: What is sent where.
        connections: HTTP/2 connections; at least 1.
        share: See :class:`Sender`.
        shares: Likewise.
        interrupt: See :class:`~sardonyx_server.load.lines.GrpcLines`.

    Raises:
        LoadFailed: The address is none that can be connected to directly.
    """
    server = lane_target(target.address, {})
    if server is None:
        raise LoadFailed(f"expected HOST:PORT or unix:PATH of a server, got {target.address!r}")
    lines = GrpcLines(server, connections, interrupt=interrupt)
    # Processes begin at different messages.
    calls = GrpcCalls(target, server.authority, lines, first=share, tally=Tally(0))
    return Sender(calls, lines, share=share, shares=shares)
