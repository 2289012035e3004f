"""Calls over HTTP/2 or grpc.aio's channel, for an event loop. Counterpart of sync_transport.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc

from sardonyx_client._errors import ClientClosed
from sardonyx_client._operations import PATHS
from sardonyx_client._transport.hedging import HedgingDelays

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sardonyx_client._channel_config import ChannelConfig
    from sardonyx_client._core import Core
    from sardonyx_client._http2.async_channel import AsyncHttp2Channel
    from sardonyx_client._options import Hedge
    from sardonyx_client._timeout import Timeout

    Message = bytes | memoryview

__all__ = ["AsyncTransport"]

T = TypeVar("T", bound="Message")
_OTHER_LOOP: Final = (
    "the client belongs to the event loop in which it was first used, and this is another one (each asyncio.run has "
    "its own): make a client in this one"
)


class AsyncTransport:
    """The transport of one client, in the event loop where it is first used. See ``SyncTransport``."""

    def __init__(self, core: Core, config: ChannelConfig, hedge: Hedge | None) -> None:
        self._core = core
        self._config = config
        self._delays = None if hedge is None else HedgingDelays(hedge)
        # Created on first use, because a channel binds to the event loop that is running.
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http2_channel: AsyncHttp2Channel | None = None
        if config.http2 is not None:
            from sardonyx_client._http2.async_channel import AsyncHttp2Channel

            self._http2_channel = AsyncHttp2Channel(config.http2, PATHS["ModelInfer"])

    async def close(self) -> None:
        """See ``SyncTransport.close``."""
        if self._http2_channel is not None and not self._core.forked:
            await self._http2_channel.close()
        if self._channel is not None:
            await self._channel.close()

    def stream(self) -> Any:
        """See ``SyncTransport.stream``."""
        self._core.check_open()
        return self._connected().stream_stream(PATHS["ModelStreamInfer"])

    async def infer(self, model: str, message: bytes, limit: Timeout) -> Message:
        """See ``SyncTransport.infer``."""
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
                remaining_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(asyncio.ensure_future(self._infer_once(model, message, remaining_s)))
            waiting = set(attempts)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                well = [attempt for attempt in done if attempt.exception() is None]
                if well:
                    delays.record(model, time.perf_counter() - began_s)
                if well or not waiting:
                    return (well or list(done))[0].result()
        finally:
            for attempt in attempts:
                attempt.cancel()

    def _check_usable(self) -> None:
        """Raise if no call can be made from this event loop.

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
            config = self._config
            arguments = (config.options, config.compression)
            self._channel = (
                grpc.aio.insecure_channel(config.target, *arguments)
                if config.credentials is None
                else grpc.aio.secure_channel(config.target, config.credentials, *arguments)
            )
            self._calls = {name: self._channel.unary_unary(path) for name, path in PATHS.items()}
        return self._channel

    async def send(self, rpc: str, message: bytes, limit: Timeout, *, connect: bool = False) -> bytes:
        """See ``SyncTransport.send``."""
        core = self._core
        self._check_usable()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        call = self._call(rpc, message, timeout_s, connect=connect)
        return await self._finish(call, rpc, "", message, began_s, timeout_s)

    async def _infer_once(self, model: str, message: bytes, limit: Timeout) -> Message:
        """Make an inference call."""
        core = self._core
        self._check_usable()
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        return await self._finish(self._infer(message, timeout_s), "ModelInfer", model, message, began_s, timeout_s)

    def start(self, message: bytes, timeout_s: float | None) -> asyncio.Future[Message]:
        """See ``SyncTransport.start``."""
        self._check_usable()
        call = asyncio.ensure_future(self._infer(message, timeout_s))
        # Retrieve the error of a call that nobody awaits any more, so that asyncio does not log it.
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        return call

    async def _infer(self, message: bytes, timeout_s: float | None) -> Message:
        """Over HTTP/2 where possible."""
        if self._http2_channel is not None:
            began_s = time.perf_counter()
            answer = await self._http2_channel.call(message, timeout_s, self._core.metadata())
            if answer is not None:
                return answer
            if timeout_s is not None:
                timeout_s -= time.perf_counter() - began_s
        return await self._call("ModelInfer", message, timeout_s)

    def _call(self, rpc: str, message: bytes, timeout_s: float | None, *, connect: bool = False) -> Awaitable[bytes]:
        """Over grpcio's channel."""
        self._connected()
        call: Awaitable[bytes] = self._calls[rpc](
            message, timeout=timeout_s, metadata=self._core.metadata(), wait_for_ready=connect or None
        )
        return call

    async def wait(
        self, call: Awaitable[Message], model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> Message:
        """See ``SyncTransport.wait``."""
        return await self._finish(call, "ModelInfer", model, message, began_s, timeout_s)

    async def _finish(
        self, call: Awaitable[T], rpc: str, model: str, message: bytes, began_s: float, timeout_s: float | None
    ) -> T:
        """Wait for a call, translate its error, and report it to the hook."""
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
        """Whether a cancellation came from close() rather than from a cancelled task."""
        task = asyncio.current_task()
        return self._core.closed and (task is None or not task.cancelling())
