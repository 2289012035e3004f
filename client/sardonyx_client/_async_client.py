"""The asynchronous front of the client, on grpc.aio. The twin of _client.py: the same names, arguments and errors."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from sardonyx_client._errors import ClientError, DeadlineExceeded, Unavailable
from sardonyx_client._options import Retry, Share
from sardonyx_client._timeout import CLIENT_DEFAULT, Deadline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._async_coalescer import AsyncCoalescer
    from sardonyx_client._async_stream import AsyncStream
    from sardonyx_client._coalesce import Request
    from sardonyx_client._core import Encoded
    from sardonyx_client._model import AsyncModel
    from sardonyx_client._operations import Operation
    from sardonyx_client._options import TLS, Coalesce, Compression, Hedge, Transport
    from sardonyx_client._repository import AsyncRepository
    from sardonyx_client._shared_memory import AsyncSharedMemory
    from sardonyx_client._sharer import AsyncSharer
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
        share: Share | None = Share(),  # noqa: B008 -- likewise
        on_call: Callable[[CallRecord], None] | None = None,
        transport: Transport = "auto",
    ) -> None:
        # Late for the reason given in _client.py.
        from sardonyx_client import _operations
        from sardonyx_client._async_sender import AsyncSender
        from sardonyx_client._connection import Connection
        from sardonyx_client._core import Core
        from sardonyx_client._nearness import is_near
        from sardonyx_client._sharer import AsyncSharer
        from sardonyx_client._sharing import Sharing

        def connect(retry: Retry | None) -> Connection:
            return Connection.to(
                address,
                retry=retry,
                tls=tls,
                compression=compression,
                max_message_bytes=max_message_bytes,
                keepalive_s=keepalive_s,
                transport=transport,
            )

        connection = connect(retry)
        self._operations = _operations
        self._core = Core(
            address=connection.target, timeout_s=timeout_s, metadata=metadata, token=token, on_call=on_call
        )
        self._sender = AsyncSender(self._core, connection, hedge)
        self._sharer: AsyncSharer | None = None
        # A hedged call runs twice, and each server has memory of its own.
        if share is not None and hedge is None and (share.any_address or is_near(connection.target)):
            self._sharer = AsyncSharer(
                Sharing(share, self._core, retry), lambda: AsyncSender(self._core, connect(retry=None), hedge=None)
            )
        self._coalescer: AsyncCoalescer | None = None
        if coalesce is not None:
            from sardonyx_client._async_coalescer import AsyncCoalescer

            self._coalescer = AsyncCoalescer(coalesce, self._infer_joined)

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
        if self._sharer is not None:
            await self._sharer.close()
        await self._sender.close()

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
        with self._core.span("ModelInfer", model):
            coalescer = self._coalescer
            if coalescer is not None:
                asks = self._core.joinable(
                    coalescer.forms,
                    model,
                    inputs,
                    named_inputs,
                    version=version,
                    outputs=outputs,
                    request_id=request_id,
                    parameters=parameters,
                )
                if asks is not None:
                    return await coalescer.infer(asks, self._core.timeout_s(timeout_s))
            sharer = self._sharer
            if sharer is not None and sharer.sharing.wants(model, inputs, named_inputs):
                deadline = Deadline(self._core.timeout_s(timeout_s))
                alone = self._core.request(model, version=version, outputs=outputs, parameters=parameters)
                shared = await sharer.infer(alone, inputs, named_inputs, request_id, deadline)
                if shared is not None:
                    return shared
                timeout_s = deadline.left_s
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
                answer = await self._sender.infer(model, encoded.message, timeout_s)
            except ClientError as error:
                error.request_id = request_id
                raise
            if sharer is not None:
                sharer.sharing.learn(model, len(answer))
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
        waiting: deque[tuple[Encoded, Any, float]] = deque()
        seconds = self._core.timeout_s(timeout_s)

        async def first() -> Result:
            encoded, call, began_s = waiting.popleft()
            answer = await self._sender.answer(call, model, encoded.message, began_s, seconds)
            return self._core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

        try:
            for inputs in requests:
                encoded = self._core.encode(
                    model, inputs, {}, version=version, outputs=outputs, request_id="", parameters=parameters
                )
                waiting.append((encoded, self._sender.start(encoded.message, seconds), time.perf_counter()))
                if len(waiting) >= window:
                    yield await first()
            while waiting:
                yield await first()
        finally:
            for _, call, _ in waiting:
                call.cancel()

    def stream(self, *, timeout_s: Timeout = None) -> AsyncStream:
        """See :meth:`Client.stream`."""
        from sardonyx_client._async_stream import AsyncStream

        return AsyncStream(self._core, self._sender.stream(), self._core.timeout_s(timeout_s))

    def model(self, name: str, version: str | int = "") -> AsyncModel:
        """A handle of one model, which checks arguments against its signature before anything is sent."""
        from sardonyx_client._model import AsyncModel

        return AsyncModel(self, name, version)

    @property
    def timeout_s(self) -> float | None:
        """Of calls that name none, in seconds; None = no limit."""
        return self._core.timeout_s(CLIENT_DEFAULT)

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
        sharer = self._sharer
        if sharer is not None and sharer.sharing.wants(request.model, inputs, {}):
            deadline = Deadline(timeout_s)
            shared = await sharer.infer(request, inputs, {}, "", deadline)
            if shared is not None:
                return shared
            timeout_s = deadline.left_s
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
        answer = await self._sender.infer(request.model, encoded.message, timeout_s)
        if sharer is not None:
            sharer.sharing.learn(request.model, len(answer))
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
        with self._core.span(operation.rpc):
            return operation.decode(
                await self._sender.send(operation.rpc, operation.message, timeout_s, connect=connect)
            )
