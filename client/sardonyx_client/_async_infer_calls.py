"""Inference calls of the asynchronous client. Counterpart of _infer_calls.py."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sardonyx_client._errors import ClientError
from sardonyx_client._timeout import Deadline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from sardonyx_client._coalescing.async_coalescer import AsyncCoalescer
    from sardonyx_client._core import Core, Encoded
    from sardonyx_client._options import Coalesce
    from sardonyx_client._request import Request
    from sardonyx_client._shm_transfer.transfer import AsyncShmTransfer
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._transport.async_transport import AsyncTransport
    from sardonyx_client._values import Result

__all__ = ["AsyncInferCalls"]


class AsyncInferCalls:
    """Inference calls of one client. See :class:`InferCalls`.

    Args:
        core: The client's core.
        transport: For calls without shared memory. Its creator closes it.
        shm_transfer: For large tensors; None = never use shared memory. :meth:`close` closes it.
        coalesce: How calls are merged; None = never.
    """

    def __init__(
        self, core: Core, transport: AsyncTransport, shm_transfer: AsyncShmTransfer | None, coalesce: Coalesce | None
    ) -> None:
        self._core = core
        self._transport = transport
        self._shm_transfer = shm_transfer
        self._coalescer: AsyncCoalescer | None = None
        if coalesce is not None:
            from sardonyx_client._coalescing.async_coalescer import AsyncCoalescer

            self._coalescer = AsyncCoalescer(coalesce, self._infer_directly)

    async def close(self) -> None:
        """Cancel calls through shared memory, and release the memory."""
        if self._shm_transfer is not None:
            await self._shm_transfer.close()

    async def infer(self, request: Request, timeout_s: Timeout) -> Result:
        """See :meth:`AsyncClient.infer`."""
        core, coalescer = self._core, self._coalescer
        with core.span("ModelInfer", request.model):
            if coalescer is not None:
                coalescable = coalescer.batch_keys.coalescable(request)
                if coalescable is not None:
                    return await coalescer.infer(coalescable, core.timeout_s(timeout_s))
            return await self._infer_directly(request, timeout_s)

    async def _infer_directly(self, request: Request, timeout_s: Timeout) -> Result:
        """Make one call, through shared memory if its tensors are large and that is possible."""
        core, shm_transfer, model = self._core, self._shm_transfer, request.model
        if shm_transfer is not None and shm_transfer.protocol.applies_to(request):
            deadline = Deadline(core.timeout_s(timeout_s))
            shared = await shm_transfer.infer(request, deadline)
            if shared is not None:
                return shared
            timeout_s = deadline.remaining_s
        encoded = core.encode(request)
        start_s = time.perf_counter()
        try:
            answer = await self._transport.infer(model, encoded.message, timeout_s)
        except ClientError as error:
            error.request_id = request.request_id
            raise
        if shm_transfer is not None:
            shm_transfer.protocol.record_response_size(model, len(answer))
        return core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - start_s)

    async def infer_many(
        self, model: str, requests: Iterable[Request], window: int, timeout_s: Timeout
    ) -> AsyncIterator[Result]:
        """See :meth:`AsyncClient.infer_many`."""
        core, transport = self._core, self._transport
        in_flight: deque[tuple[Encoded, Any, float]] = deque()
        seconds = core.timeout_s(timeout_s)

        async def next_result() -> Result:
            encoded, call, start_s = in_flight.popleft()
            answer = await transport.wait(call, model, encoded.message, start_s, seconds)
            return core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - start_s)

        try:
            for request in requests:
                encoded = core.encode(request)
                in_flight.append((encoded, transport.start(encoded.message, seconds), time.perf_counter()))
                if len(in_flight) >= window:
                    yield await next_result()
            while in_flight:
                yield await next_result()
        finally:
            for _, call, _ in in_flight:
                call.cancel()
