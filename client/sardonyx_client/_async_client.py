"""The asynchronous front of the client, on grpc.aio. The twin of _client.py: the same names, arguments and errors."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

import grpc

from sardonyx_client._errors import ClientError, DeadlineExceeded, Unavailable
from sardonyx_client._options import (
    Retry,
    channel_credentials,
    channel_options,
    compression_of,
    target_of,
)
from sardonyx_client._timeout import CLIENT_DEFAULT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._async_coalescer import AsyncCoalescer
    from sardonyx_client._async_stream import AsyncStream
    from sardonyx_client._coalesce import Request
    from sardonyx_client._core import Encoded
    from sardonyx_client._hedging import Delays
    from sardonyx_client._model import AsyncModel
    from sardonyx_client._operations import Operation
    from sardonyx_client._options import TLS, Coalesce, Compression, Hedge
    from sardonyx_client._repository import AsyncRepository
    from sardonyx_client._shared_memory import AsyncSharedMemory
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import CallRecord, ModelInfo, ModelStatistics, ParameterValue, Result, ServerInfo
    from sardonyx_wire.messages import ModelConfig

__all__ = ["AsyncClient"]

T = TypeVar("T")

# As in _client.py.
_FIRST_PAUSE_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.5


class AsyncClient:
    """:class:`Client` for asyncio: the same arguments, methods and errors; what takes time is awaited.

    Belongs to the event loop in which it is first used.
    """

    def __init__(  # noqa: PLR0913  # what a person may want to say of a connection
        self,
        address: str | Sequence[str] = "127.0.0.1:8001",
        *,
        timeout_s: float | None = 60.0,
        metadata: Mapping[str, str | bytes] = MappingProxyType({}),
        tls: TLS | None = None,
        token: str | Callable[[], str] | None = None,
        compression: Compression | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 -- immutable
        max_message_bytes: int | None = None,
        keepalive_s: float | None = None,
        hedge: Hedge | None = None,
        coalesce: Coalesce | None = None,
        on_call: Callable[[CallRecord], None] | None = None,
    ) -> None:
        # Late for the reason given in _client.py.
        from sardonyx_client import _operations
        from sardonyx_client._core import Core

        self._target = target_of(address)
        self._operations = _operations
        self._core = Core(address=self._target, timeout_s=timeout_s, metadata=metadata, token=token, on_call=on_call)
        self._delays: Delays | None = None
        if hedge is not None:
            from sardonyx_client._hedging import Delays

            self._delays = Delays(hedge)
        self._coalesce = coalesce
        self._coalescer: AsyncCoalescer | None = None
        if coalesce is not None:
            from sardonyx_client._async_coalescer import AsyncCoalescer

            self._coalescer = AsyncCoalescer(coalesce, self._infer_joined)
        self._options = channel_options(
            several=not isinstance(address, str) and len(address) > 1,
            retry=retry,
            tls=tls,
            max_message_bytes=max_message_bytes,
            keepalive_s=keepalive_s,
        )
        self._credentials = channel_credentials(tls)
        self._compression = compression_of(compression)
        # Made when it is first used: a channel takes the event loop it finds.
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        """Nothing happens: the connection is made when it is first used."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        self._core.closed = True
        if self._channel is not None:
            await self._channel.close()

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike] | None = None,
        /,
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        request_id: str = "",
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout_s: Timeout = CLIENT_DEFAULT,
        **named_inputs: ArrayLike,
    ) -> Result:
        """See :meth:`Client.infer`."""
        if self._coalescer is not None:
            asks = self._core.joinable(
                self._coalesce,
                model,
                inputs,
                named_inputs,
                version=version,
                outputs=outputs,
                request_id=request_id,
                parameters=parameters,
            )
            if asks is not None:
                return await self._coalescer.infer(asks, self._core.timeout_s(timeout_s))
        encoded = self._core.encode(
            model,
            inputs,
            named_inputs,
            version=version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
        )
        began_s = time.perf_counter()
        try:
            answer = await self._send_inference(model, encoded.message, timeout_s)
        except ClientError as error:
            error.request_id = request_id
            raise
        return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    async def infer_many(
        self,
        model: str,
        requests: Iterable[Mapping[str, ArrayLike]],
        /,
        *,
        window: int = 16,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout_s: Timeout = CLIENT_DEFAULT,
    ) -> AsyncIterator[Result]:
        """See :meth:`Client.infer_many`."""
        waiting: deque[tuple[Encoded, Any, float, float | None]] = deque()
        seconds = self._core.timeout_s(timeout_s)
        try:
            for inputs in requests:
                encoded = self._core.encode(
                    model, inputs, {}, version=version, outputs=outputs, request_id="", parameters=parameters
                )
                waiting.append((encoded, self._start(encoded.message, seconds), time.perf_counter(), seconds))
                if len(waiting) >= window:
                    yield await self._finish(*waiting.popleft())
            while waiting:
                yield await self._finish(*waiting.popleft())
        finally:
            for _, call, _, _ in waiting:
                call.cancel()

    def stream(self, *, timeout_s: Timeout = None) -> AsyncStream:
        """See :meth:`Client.stream`."""
        from sardonyx_client._async_stream import AsyncStream

        self._core.check_open()
        path = self._operations.PATHS["ModelStreamInfer"]
        return AsyncStream(self._core, self._connected().stream_stream(path), self._core.timeout_s(timeout_s))

    def model(self, name: str, version: str | int = "") -> AsyncModel:
        """A handle of one model, which checks arguments against its signature before anything is sent."""
        from sardonyx_client._model import AsyncModel

        return AsyncModel(self, name, version)

    @property
    def repository(self) -> AsyncRepository:
        """Loads and unloads models."""
        from sardonyx_client._repository import AsyncRepository

        return AsyncRepository(self._run)

    @property
    def shared_memory(self) -> AsyncSharedMemory:
        """Regions of system shared memory that the server knows."""
        from sardonyx_client._shared_memory import AsyncSharedMemory

        return AsyncSharedMemory(self._run)

    async def live(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """See :meth:`Client.live`."""
        try:
            return await self._run(self._operations.live(), timeout_s)
        except Unavailable:
            return False

    async def ready(
        self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> bool:
        """See :meth:`Client.ready`."""
        try:
            return await self._run(self._readiness(model, version), timeout_s)
        except Unavailable:
            return False

    async def wait_until_ready(
        self, timeout_s: float = 60.0, *, model: str | None = None, version: str | int = ""
    ) -> None:
        """See :meth:`Client.wait_until_ready`."""
        deadline = time.monotonic() + timeout_s
        for subject in (None,) if model is None else (None, model):
            pause_s = _FIRST_PAUSE_S
            while not await self._ready_by(deadline, subject, version):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    what = "the server" if subject is None else f"model {subject!r}"
                    raise DeadlineExceeded(f"{what} at {self._core.address} is not ready after {timeout_s:g} s")
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    @overload
    async def metadata(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> ServerInfo: ...
    @overload
    async def metadata(
        self, model: str, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> ModelInfo: ...
    async def metadata(
        self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> ServerInfo | ModelInfo:
        """See :meth:`Client.metadata`."""
        if model is None:
            return await self._run(self._operations.server_metadata(), timeout_s)
        return await self._run(self._operations.model_metadata(model, str(version)), timeout_s)

    async def config(self, model: str, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> ModelConfig:
        """See :meth:`Client.config`."""
        return await self._run(self._operations.config(model, str(version)), timeout_s)

    async def statistics(
        self, model: str = "", version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> tuple[ModelStatistics, ...]:
        """See :meth:`Client.statistics`."""
        return await self._run(self._operations.statistics(model, str(version)), timeout_s)

    async def _infer_joined(self, request: Request, inputs: Mapping[str, ArrayLike], timeout_s: float | None) -> Result:
        """Send one request of several callers."""
        encoded = self._core.encode(
            request.model,
            inputs,
            {},
            version=request.version,
            outputs=request.outputs,
            request_id="",
            parameters=request.parameters,
        )
        began_s = time.perf_counter()
        answer = await self._send_inference(request.model, encoded.message, timeout_s)
        return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    def _readiness(self, model: str | None, version: str | int) -> Operation[bool]:
        if model is None:
            return self._operations.server_ready()
        return self._operations.model_ready(model, str(version))

    async def _ready_by(self, deadline: float, model: str | None, version: str | int) -> bool:
        """One look. False where there is no answer: the caller knows whether time is left for another."""
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return await self._run(self._readiness(model, version), left_s, connect=True)
        except (DeadlineExceeded, Unavailable):
            return False

    async def _run(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> T:
        return operation.decode(await self._send(operation.rpc, operation.message, timeout_s, connect=connect))

    async def _send_inference(self, model: str, message: bytes, limit: Timeout) -> bytes:
        """One inference call, hedged where that was asked for."""
        delays = self._delays
        if delays is None:
            return await self._send("ModelInfer", message, limit, model=model)
        core = self._core
        timeout_s = core.timeout_s(limit)
        began_s = time.perf_counter()
        attempts = [asyncio.ensure_future(self._send("ModelInfer", message, timeout_s, model=model))]
        try:
            await asyncio.wait(attempts, timeout=delays.delay_s(model))
            if not attempts[0].done():
                left_s = None if timeout_s is None else max(0.0, timeout_s - (time.perf_counter() - began_s))
                attempts.append(asyncio.ensure_future(self._send("ModelInfer", message, left_s, model=model)))
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
            self._channel = (
                grpc.aio.insecure_channel(self._target, self._options, self._compression)
                if self._credentials is None
                else grpc.aio.secure_channel(self._target, self._credentials, self._options, self._compression)
            )
            self._calls = {name: self._channel.unary_unary(path) for name, path in self._operations.PATHS.items()}
        return self._channel

    async def _send(self, rpc: str, message: bytes, limit: Timeout, *, model: str = "", connect: bool = False) -> bytes:
        """One call, to its end. ``connect``: wait for a connection instead of failing without."""
        core = self._core
        core.check_open()
        self._connected()
        timeout_s = core.timeout_s(limit)
        call = self._calls[rpc](message, timeout=timeout_s, metadata=core.metadata(), wait_for_ready=connect or None)
        return await self._answer(call, rpc, model, len(message), timeout_s)

    def _start(self, message: bytes, timeout_s: float | None) -> Any:
        """Begin an inference call."""
        self._core.check_open()
        self._connected()
        return self._calls["ModelInfer"](message, timeout=timeout_s, metadata=self._core.metadata())

    async def _finish(self, encoded: Encoded, call: Any, began_s: float, timeout_s: float | None) -> Result:
        """Wait for a call that was begun."""
        answer = await self._answer(call, "ModelInfer", encoded.model, len(encoded.message), timeout_s)
        return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    async def _answer(
        self, call: Awaitable[bytes], rpc: str, model: str, request_bytes: int, timeout_s: float | None
    ) -> bytes:
        core = self._core
        began_s = time.perf_counter()
        try:
            answer = await call
        except (grpc.RpcError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not self._closed_under_way():
                raise
            failure = core.failure(error, rpc, timeout_s)
            core.record(rpc, model, failure.code, time.perf_counter() - began_s, request_bytes, 0)
            raise failure from error
        if core.records:
            core.record(rpc, model, None, time.perf_counter() - began_s, request_bytes, len(answer))
        return answer

    def _closed_under_way(self) -> bool:
        """Whether a cancellation came from close(), rather than from who cancelled the task that waits."""
        task = asyncio.current_task()
        return self._core.closed and (task is None or not task.cancelling())
