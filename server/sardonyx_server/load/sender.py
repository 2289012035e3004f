"""Sends one process's share of a load over its connections. Knows neither its fleet nor how a run is judged.

One thread, sockets that never block, and the HTTP/2 of the client's lane: a request costs some ten microseconds, so
that what is measured is the server. On grpc.aio it was 190 to 380.
"""

from __future__ import annotations

import time
from itertools import repeat
from typing import TYPE_CHECKING, Final

from sardonyx_client._lane.target import lane_target
from sardonyx_server.load.arrivals import Arrivals, arrivals_s
from sardonyx_server.load.calls import Calls
from sardonyx_server.load.lines import Lines
from sardonyx_server.load.loops import LoadFailed
from sardonyx_server.load.tally import NOT_SENT, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target

__all__ = ["MAX_IN_FLIGHT", "TICK_NS", "Sender"]

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


class Sender:
    """Connections of one process. Used by one thread.

    Args:
        target: What is sent where.
        connections: HTTP/2 connections; at least 1.
        share: Number of this process in its fleet, from 0.
        shares: Processes in the fleet.
        interrupt: See :class:`~sardonyx_server.load.lines.Lines`.

    Raises:
        LoadFailed: The address is none that can be connected to directly.
    """

    def __init__(
        self, target: Target, *, connections: int, share: int = 0, shares: int = 1, interrupt: int | None = None
    ) -> None:
        server = lane_target(target.address, {})
        if server is None:
            raise LoadFailed(f"expected HOST:PORT or unix:PATH of a server, got {target.address!r}")
        self._share = share
        self._shares = shares
        self._lines = Lines(server, connections, interrupt=interrupt)
        # Processes begin at different messages.
        self._calls = Calls(target, server.authority, self._lines, first=share, tally=Tally(0))
        self._again: Callable[[], None] | None = None
        self._lines.on_answers = self._answers_came
        self._lines.on_refusal = lambda: self._calls.refuse_waiting(time.monotonic_ns())

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
