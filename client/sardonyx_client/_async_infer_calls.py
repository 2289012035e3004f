"""The inference calls of the asynchronous client. The twin of _infer_calls.py."""

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
    from sardonyx_client._sending.async_sender import AsyncSender
    from sardonyx_client._sharing.sharer import AsyncSharer
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import Result

__all__ = ["AsyncInferCalls"]


class AsyncInferCalls:
    """Of one client. See :class:`InferCalls`.

    Args:
        core: Of the client.
        sender: Sends what is not shared. Whoever made it closes it.
        sharer: Passes large tensors through shared memory; None = they are sent. Closed by :meth:`close`.
        coalesce: How calls are joined; None = never.
    """

    def __init__(self, core: Core, sender: AsyncSender, sharer: AsyncSharer | None, coalesce: Coalesce | None) -> None:
        self._core = core
        self._sender = sender
        self._sharer = sharer
        self._coalescer: AsyncCoalescer | None = None
        if coalesce is not None:
            from sardonyx_client._coalescing.async_coalescer import AsyncCoalescer

            self._coalescer = AsyncCoalescer(coalesce, self._alone)

    async def close(self) -> None:
        """Cancel what is shared, and let go of the memory."""
        if self._sharer is not None:
            await self._sharer.close()

    async def infer(self, request: Request, timeout_s: Timeout) -> Result:
        """See :meth:`AsyncClient.infer`."""
        core, coalescer = self._core, self._coalescer
        with core.span("ModelInfer", request.model):
            if coalescer is not None:
                asks = coalescer.forms.joinable(request)
                if asks is not None:
                    return await coalescer.infer(asks, core.timeout_s(timeout_s))
            return await self._alone(request, timeout_s)

    async def _alone(self, request: Request, timeout_s: Timeout) -> Result:
        """One request, through shared memory where its tensors are large and that can be."""
        core, sharer, model = self._core, self._sharer, request.model
        if sharer is not None and sharer.sharing.wants(request):
            deadline = Deadline(core.timeout_s(timeout_s))
            shared = await sharer.infer(request, deadline)
            if shared is not None:
                return shared
            timeout_s = deadline.left_s
        encoded = core.encode(request)
        began_s = time.perf_counter()
        try:
            answer = await self._sender.infer(model, encoded.message, timeout_s)
        except ClientError as error:
            error.request_id = request.request_id
            raise
        if sharer is not None:
            sharer.sharing.learn(model, len(answer))
        return core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

    async def many(
        self, model: str, requests: Iterable[Request], window: int, timeout_s: Timeout
    ) -> AsyncIterator[Result]:
        """See :meth:`AsyncClient.infer_many`."""
        core, sender = self._core, self._sender
        waiting: deque[tuple[Encoded, Any, float]] = deque()
        seconds = core.timeout_s(timeout_s)

        async def first() -> Result:
            encoded, call, began_s = waiting.popleft()
            answer = await sender.answer(call, model, encoded.message, began_s, seconds)
            return core.decode(answer, encode_s=encoded.encode_s, call_s=time.perf_counter() - began_s)

        try:
            for request in requests:
                encoded = core.encode(request)
                waiting.append((encoded, sender.start(encoded.message, seconds), time.perf_counter()))
                if len(waiting) >= window:
                    yield await first()
            while waiting:
                yield await first()
        finally:
            for _, call, _ in waiting:
                call.cancel()
