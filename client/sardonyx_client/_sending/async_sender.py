"""Calls on the lane or on a channel of grpc.aio: the twin of sender.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from sardonyx_client._errors import ClientClosed
from sardonyx_client._operations import PATHS
from sardonyx_client._sending.hedging import Delays

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sardonyx_client._connection import Connection
    from sardonyx_client._core import Core
    from sardonyx_client._lane.tasks import TaskLane
    from sardonyx_client._options import Hedge
    from sardonyx_client._timeout import Timeout

    Message = bytes | memoryview

__all__ = ["AsyncSender"]

T = TypeVar("T", bound="Message")
_OTHER_LOOP: Final = (
    "the client belongs to the event loop in which it was first used, and this is another one (each asyncio.run has "
    "its own): make a client in this one"
)


class AsyncSender:
    """Sends for one client, in the event loop where it is first used. See ``Sender``."""

    def __init__(self, core: Core, connection: Connection, hedge: Hedge | None) -> None:
        self._core = core
        self._connection = connection
        self._delays = None if hedge is None else Delays(hedge)
        # Made when it is first used: a channel takes the event loop it finds.
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lane: TaskLane | None = None
        if connection.lane is not None:
            from sardonyx_client._lane.tasks import TaskLane

            self._lane = TaskLane(connection.lane, PATHS["ModelInfer"])

    async def close(self) -> None:
        """See ``Sender.close``."""
        if self._lane is not None and not self._core.forked:
            await self._lane.close()
        if self._channel is not None:
            await self._channel.close()

    def stream(self) -> Any:
        """See ``Sender.stream``."""
        self._core.check_open()
        return self._connected().stream_stream(PATHS["ModelStreamInfer"])

    async def infer(self, model: str, message: bytes, limit: Timeout) -> Message:
        """See ``Sender.infer``."""
        delays = self._delays
        if delays is None:
            return await self._infer_once(model, message, limit)
        core = self._core
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        attempts = [asyncio.ensure_future(self._infer_once(model, message, timeout_s))]
        try:
            await asyncio.wait(attempts, timeout=delays.delay_s(model))
            if not attempts[0].done():
                left_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(asyncio.ensure_future(self._infer_once(model, message, left_s)))
            waiting = set(attempts)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                well = [attempt for attempt in done if attempt.exception() is None]
                if well:
                    delays.learn(model, time.perf_counter() - began_s)
                if well or not waiting:
                    return (well or list(done))[0].result()
        finally:
            for attempt in attempts:
                attempt.cancel()

    def _check_usable(self) -> None:
        """Raise where no call can be made from this event loop.

        Raises:
            ClientClosed: See ``Core.check_open``; or the client belongs to another loop.
        """
        self._core.check_open()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise ClientClosed(_OTHER_LOOP)
            self._loop = loop

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

    async def send(self, rpc: str, message: bytes, limit: Timeout, *, connect: bool = False) -> bytes:
        """See ``Sender.send``."""
        core = self._core
        self._check_usable()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        call = self._call(rpc, message, timeout_s, connect=connect)
        return await self._ended(call, rpc, "", message, began_s, timeout_s)

    async def _infer_once(self, model: str, message: bytes, limit: Timeout) -> Message:
        """One inference call to its end."""
        core = self._core
        self._check_usable()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        return await self._ended(self._infer(message, timeout_s), "ModelInfer", model, message, began_s, timeout_s)

    def start(self, message: bytes, timeout_s: float | None) -> asyncio.Future[Message]:
        """See ``Sender.start``."""
        self._check_usable()
        call = asyncio.ensure_future(self._infer(message, timeout_s))
        # What nobody waits for any more fails in silence.
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        return call

    async def _infer(self, message: bytes, timeout_s: float | None) -> Message:
        """By the lane where that can be."""
        if self._lane is not None:
            began_s = time.perf_counter()
            answer = await self._lane.call(message, timeout_s, self._core.metadata())
            if answer is not None:
                return answer
            if timeout_s is not None:
                timeout_s -= time.perf_counter() - began_s
        return await self._call("ModelInfer", message, timeout_s)

    def _call(self, rpc: str, message: bytes, timeout_s: float | None, *, connect: bool = False) -> Awaitable[bytes]:
        """By the channel."""
        self._connected()
        call: Awaitable[bytes] = self._calls[rpc](
            message, timeout=timeout_s, metadata=self._core.metadata(), wait_for_ready=connect or None
        )
        return call

    async def answer(
        self, call: Awaitable[Message], model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> Message:
        """See ``Sender.answer``."""
        return await self._ended(call, "ModelInfer", model, message, began_s, timeout_s)

    async def _ended(
        self, call: Awaitable[T], rpc: str, model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> T:
        """Wait for a call, translate its failure, and tell the hook."""
        core = self._core
        try:
            answer = await call
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
