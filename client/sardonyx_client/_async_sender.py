"""Calls on a channel of grpc.aio: the twin of _sender.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc

from sardonyx_client._hedging import Delays
from sardonyx_client._operations import PATHS

if TYPE_CHECKING:
    from sardonyx_client._core import Core
    from sardonyx_client._options import Connection, Hedge
    from sardonyx_client._timeout import Timeout

__all__ = ["AsyncSender"]


class AsyncSender:
    """Sends for one client, in the event loop where it is first used. See ``Sender``."""

    def __init__(self, core: Core, connection: Connection, hedge: Hedge | None) -> None:
        self._core = core
        self._connection = connection
        self._delays = None if hedge is None else Delays(hedge)
        # Made when it is first used: a channel takes the event loop it finds.
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}

    async def close(self) -> None:
        """See ``Sender.close``."""
        if self._channel is not None:
            await self._channel.close()

    def stream(self) -> Any:
        """See ``Sender.stream``."""
        self._core.check_open()
        return self._connected().stream_stream(PATHS["ModelStreamInfer"])

    async def infer(self, model: str, message: bytes, limit: Timeout) -> bytes:
        """See ``Sender.infer``."""
        delays = self._delays
        if delays is None:
            return await self.send("ModelInfer", message, limit, model=model)
        core = self._core
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        attempts = [asyncio.ensure_future(self.send("ModelInfer", message, timeout_s, model=model))]
        try:
            await asyncio.wait(attempts, timeout=delays.delay_s(model))
            if not attempts[0].done():
                left_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(asyncio.ensure_future(self.send("ModelInfer", message, left_s, model=model)))
            waiting = set(attempts)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                well = [attempt for attempt in done if attempt.exception() is None]
                if well or not waiting:
                    delays.learn(model, time.perf_counter() - began_s)
                    return (well or list(done))[0].result()
        finally:
            for attempt in attempts:
                attempt.cancel()

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            connection = self._connection
            arguments = (connection.options, connection.compression)
            self._channel = (
                grpc.aio.insecure_channel(connection.target, *arguments)
                if connection.credentials is None
                else grpc.aio.secure_channel(connection.target, connection.credentials, *arguments)
            )
            self._calls = {name: self._channel.unary_unary(path) for name, path in PATHS.items()}
        return self._channel

    async def send(self, rpc: str, message: bytes, limit: Timeout, *, model: str = "", connect: bool = False) -> bytes:
        """See ``Sender.send``."""
        core = self._core
        core.check_open()
        self._connected()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        call = self._calls[rpc](message, timeout=timeout_s, metadata=core.metadata(), wait_for_ready=connect or None)
        return await self._answer(call, rpc, model, message, began_s, timeout_s)

    def start(self, message: bytes, timeout_s: float | None) -> Any:
        """See ``Sender.start``."""
        self._core.check_open()
        self._connected()
        return self._calls["ModelInfer"](message, timeout=timeout_s, metadata=self._core.metadata())

    async def answer(self, call: Any, model: str, message: bytes, began_s: float, timeout_s: float | None) -> bytes:
        """See ``Sender.answer``."""
        return await self._answer(call, "ModelInfer", model, message, began_s, timeout_s)

    async def _answer(
        self, call: Any, rpc: str, model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> bytes:
        core = self._core
        try:
            answer: bytes = await call
        except (grpc.RpcError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not self._closed_under_way():
                raise
            failure = core.failure(error, rpc, timeout_s)
            core.record(rpc, model, failure.code, time.perf_counter() - began_s, len(message), 0)
            raise failure from error
        if core.records:
            core.record(rpc, model, None, time.perf_counter() - began_s, len(message), len(answer))
        return answer

    def _closed_under_way(self) -> bool:
        """Whether a cancellation came from close(), rather than from who cancelled the task that waits."""
        task = asyncio.current_task()
        return self._core.closed and (task is None or not task.cancelling())
