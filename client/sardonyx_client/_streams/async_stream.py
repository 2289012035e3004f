"""An asyncio stream of inference requests and results. Counterpart of stream.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import grpc

from sardonyx_client._errors import ClientClosed
from sardonyx_client._request import build_request
from sardonyx_client._streams.codec import decode_stream_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._core import Core
    from sardonyx_client._values import ParameterValue, Result

__all__ = ["AsyncStream"]


class AsyncStream:
    """Many requests and their results, in order, on one call. From :meth:`AsyncClient.stream`. See :class:`Stream`."""

    def __init__(self, core: Core, call: Any, timeout_s: float | None) -> None:
        self._core = core
        self._timeout_s = timeout_s
        self._sending = True
        self._call = call(timeout=timeout_s, metadata=core.metadata())

    async def __aenter__(self) -> Self:
        """Does nothing: the stream is open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def send(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike] | None = None,
        /,
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        request_id: str = "",
        parameters: Mapping[str, ParameterValue] | None = None,
        **named_inputs: ArrayLike,
    ) -> None:
        """See :meth:`Stream.send`."""
        if not self._sending:
            raise ClientClosed("the stream takes no more requests: done_sending() or close() was called")
        request = build_request(model, inputs, named_inputs, version, outputs, request_id, parameters)
        encoded = self._core.encode(request)
        try:
            await self._call.write(encoded.message)
        except grpc.RpcError as error:
            raise self._core.failure(error, "ModelStreamInfer", self._timeout_s) from error
        except asyncio.InvalidStateError as error:
            raise ClientClosed("the stream takes no more requests: it has ended, and reading it says why") from error

    async def done_sending(self) -> None:
        """See :meth:`Stream.done_sending`."""
        if self._sending:
            self._sending = False
            await self._call.done_writing()

    async def close(self) -> None:
        """See :meth:`Stream.close`."""
        self._sending = False
        self._call.cancel()

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Result:
        """See :meth:`Stream.__next__`."""
        try:
            message = await self._call.read()
        except grpc.RpcError as error:
            raise self._core.failure(error, "ModelStreamInfer", self._timeout_s) from error
        except asyncio.CancelledError as error:
            # grpc.aio also raises this if the call was cancelled on this side, and not the task that reads.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if self._core.closed:
                raise self._core.failure(error, "ModelStreamInfer", self._timeout_s) from error
            if self._sending:
                raise
            raise StopAsyncIteration from None
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return decode_stream_answer(self._core, message)
