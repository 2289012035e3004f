"""Sends one process's share of a load over its connections. Knows neither its fleet nor how a run is judged.

One thread and grpc.aio: in a comparison on 2026-11-24 a request cost it as much CPU as grpcio's private client API
with a receiving thread, and two thirds of the public futures; and nothing competes with the timer for the interpreter.
"""

from __future__ import annotations

import asyncio
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_server.load.arrivals import Arrivals, arrivals_s
from sardonyx_server.load.tally import NOT_SENT, WRONG_ANSWER, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target

__all__ = ["MAX_IN_FLIGHT", "Sender"]

MAX_IN_FLIGHT: Final = 8192
"""Requests under way in one process. A server that far behind is overloaded; more would only fill memory."""

_CONNECT_TIMEOUT_S: Final = 10.0
_NS_PER_S: Final = 1_000_000_000
_OPTIONS: Final = (
    # Channels to one address share a connection otherwise.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A request is one attempt; a retry would hide a failure in a latency.
    ("grpc.enable_retries", 0),
)


class Sender:
    """Connections of one process. Used on one event loop.

    Args:
        target: What is sent where.
        connections: HTTP/2 connections; at least 1.
        share: Number of this process in its fleet, from 0.
        shares: Processes in the fleet.
    """

    def __init__(self, target: Target, *, connections: int, share: int = 0, shares: int = 1) -> None:
        self._target = target
        self._share = share
        self._shares = shares
        self._channels = [grpc.aio.insecure_channel(target.address, options=_OPTIONS) for _ in range(connections)]
        calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(target.method) for channel in self._channels
        ]
        self._calls = cycle(calls)
        # Processes begin at different messages.
        self._messages = islice(cycle(target.messages), share % len(target.messages), None)

    async def connect(self) -> None:
        """Connect all channels.

        Raises:
            TimeoutError: Not within 10 s.
        """
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            for channel in self._channels:
                await channel.channel_ready()

    async def close(self) -> None:
        """Disconnect."""
        for channel in self._channels:
            await channel.close()

    async def open_loop(self, load: OpenLoop, tally: Tally, *, start_ns: int, duration_s: float) -> None:
        """Send requests when they are due; ends when all are answered or have failed.

        Args:
            load: The whole fleet's.
            tally: Where they are counted.
            start_ns: Of the run, on the monotonic clock; the latency of a request counts from when it was due.
            duration_s: None is due at or after the end of it.
        """
        waiting: set[asyncio.Task[None]] = set()
        schedule = arrivals_s(
            Arrivals(load.arrivals),
            rate=load.rate,
            duration_s=duration_s,
            seed=load.seed,
            share=self._share,
            shares=self._shares,
        )
        for at_s in schedule:
            due_ns = start_ns + round(at_s * _NS_PER_S)
            # Behind its time too it lets the loop go round once, in which the call before is really sent.
            await asyncio.sleep(max(due_ns - time.monotonic_ns(), 0) / _NS_PER_S)
            tally.due(due_ns)
            if len(waiting) >= MAX_IN_FLIGHT:
                tally.failed(NOT_SENT)
                continue
            task = asyncio.create_task(self._finish(self._call(), due_ns, tally))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        if waiting:
            await asyncio.wait(waiting)

    async def closed_loop(self, load: ClosedLoop, tally: Tally, *, start_ns: int, duration_s: float) -> None:
        """Send the requests of this process's share of callers; ends when all are answered or have failed."""
        await asyncio.sleep(max(start_ns - time.monotonic_ns(), 0) / _NS_PER_S)
        end_ns = start_ns + round(duration_s * _NS_PER_S)
        left = None if load.requests is None else iter(range(self._part(load.requests)))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._part(load.concurrency)):
                group.create_task(self._caller(tally, end_ns, left))

    async def _caller(self, tally: Tally, end_ns: int, left: Iterator[int] | None) -> None:
        while (now_ns := time.monotonic_ns()) < end_ns and (left is None or next(left, None) is not None):
            tally.sent += 1
            await self._finish(self._call(), now_ns, tally)

    def _call(self) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        return next(self._calls)(next(self._messages), timeout=self._target.timeout_s)

    async def _finish(self, call: grpc.aio.UnaryUnaryCall[bytes, bytes], due_ns: int, tally: Tally) -> None:
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            tally.failed(error.code().name)
            return
        if self._target.answer_bytes is None or len(answer) == self._target.answer_bytes:
            tally.answered(due_ns)
        else:
            tally.failed(WRONG_ANSWER)

    def _part(self, whole: int) -> int:
        """This process's part of so many."""
        return whole // self._shares + (self._share < whole % self._shares)
