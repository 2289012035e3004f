"""The asyncio client. Counterpart of _client.py, with the same names, arguments and errors."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar, overload

from sardonyx_client._options import Retry, Share
from sardonyx_client._request import build_request
from sardonyx_client._timeout import CLIENT_DEFAULT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._model import AsyncModel
    from sardonyx_client._operations import Operation
    from sardonyx_client._options import TLS, Coalesce, Compression, Hedge, Transport
    from sardonyx_client._readiness import AsyncReadiness
    from sardonyx_client._repository import AsyncRepository
    from sardonyx_client._shared_memory import AsyncSharedMemory
    from sardonyx_client._streams.async_stream import AsyncStream
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import CallRecord, ModelInfo, ModelStatistics, ParameterValue, Result, ServerInfo
    from sardonyx_wire.messages import ModelConfig

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """:class:`Client` for asyncio, with the same arguments, methods and errors.

    It is bound to the event loop in which it is first used.
    """

    def __init__(  # noqa: PLR0913  # the options of a client
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
        # Imported here for the reason given in _client.py.
        from sardonyx_client import _operations
        from sardonyx_client._async_infer_calls import AsyncInferCalls
        from sardonyx_client._channel_config import ChannelConfig
        from sardonyx_client._core import Core
        from sardonyx_client._shm_transfer.protocol import make_shm_protocol
        from sardonyx_client._shm_transfer.transfer import AsyncShmTransfer
        from sardonyx_client._transport.async_transport import AsyncTransport

        def channel_config(retry: Retry | None) -> ChannelConfig:
            return ChannelConfig.from_options(
                address,
                retry=retry,
                tls=tls,
                compression=compression,
                max_message_bytes=max_message_bytes,
                keepalive_s=keepalive_s,
                transport=transport,
            )

        config = channel_config(retry)
        self._operations = _operations
        self._core = Core(address=config.target, timeout_s=timeout_s, metadata=metadata, token=token, on_call=on_call)
        self._transport = AsyncTransport(self._core, config, hedge)
        shm_protocol = make_shm_protocol(share, self._core, config.target, retry=retry, hedge=hedge)
        shm_transfer = None
        if shm_protocol is not None:
            shm_transfer = AsyncShmTransfer(
                shm_protocol, lambda: AsyncTransport(self._core, channel_config(retry=None), hedge=None)
            )
        self._calls = AsyncInferCalls(self._core, self._transport, shm_transfer, coalesce)

    def __repr__(self) -> str:
        """The address, and whether it is closed; no secrets."""
        return self._core.shown_as("AsyncClient")

    async def __aenter__(self) -> Self:
        """Does nothing: the client connects on first use."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        self._core.closed = True
        await self._calls.close()
        await self._transport.close()

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
        request = build_request(model, inputs, named_inputs, version, outputs, request_id, parameters)
        return await self._calls.infer(request, timeout_s)

    def infer_many(
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
        asked = (build_request(model, inputs, {}, version, outputs, "", parameters) for inputs in requests)
        return self._calls.infer_many(model, asked, window, timeout_s)

    def stream(self, *, timeout_s: Timeout = None) -> AsyncStream:
        """See :meth:`Client.stream`."""
        from sardonyx_client._streams.async_stream import AsyncStream

        return AsyncStream(self._core, self._transport.stream(), self._core.timeout_s(timeout_s))

    def model(self, name: str, version: str | int = "") -> AsyncModel:
        """A handle of one model, which checks arguments against the signature before sending."""
        from sardonyx_client._model import AsyncModel

        return AsyncModel(self, name, version)

    @property
    def timeout_s(self) -> float | None:
        """Default timeout of a call in seconds; None = no limit."""
        return self._core.timeout_s(CLIENT_DEFAULT)

    @property
    def repository(self) -> AsyncRepository:
        """Loads and unloads models."""
        from sardonyx_client._repository import AsyncRepository

        return AsyncRepository(self._run)

    @property
    def shared_memory(self) -> AsyncSharedMemory:
        """Registers regions of system shared memory with the server."""
        from sardonyx_client._shared_memory import AsyncSharedMemory

        return AsyncSharedMemory(self._run)

    async def live(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> bool:
        """See :meth:`Client.live`."""
        return await self._readiness.live(timeout_s)

    async def ready(
        self, model: str | None = None, version: str | int = "", *, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> bool:
        """See :meth:`Client.ready`."""
        return await self._readiness.ready(model, version, timeout_s)

    async def wait_until_ready(
        self, timeout_s: float = 60.0, *, model: str | None = None, version: str | int = ""
    ) -> None:
        """See :meth:`Client.wait_until_ready`."""
        await self._readiness.wait(model, version, timeout_s)

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

    @property
    def _readiness(self) -> AsyncReadiness:
        from sardonyx_client._readiness import AsyncReadiness

        return AsyncReadiness(self._run, self._core.address)

    async def _run(self, operation: Operation[T], timeout_s: Timeout, *, connect: bool = False) -> T:
        with self._core.span(operation.rpc):
            return operation.decode(
                await self._transport.send(operation.rpc, operation.message, timeout_s, connect=connect)
            )
