"""A stream of inference requests and results, synchronous. See async_stream.py for its twin."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Self

import grpc

from sardonyx_client._errors import ClientClosed
from sardonyx_client._request import request_of
from sardonyx_client._streams.codec import decode_stream_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._core import Core
    from sardonyx_client._values import ParameterValue, Result

__all__ = ["Stream"]


class Stream:
    """Requests in, results out in their order, over one call. From :meth:`Client.stream`; use it in a ``with``.

    One thread may send while another reads. A request that fails raises from ``next``; the stream goes on, and the
    next result can be read. A failure of the stream itself ends it.
    """

    def __init__(self, core: Core, call: Any, timeout_s: float | None) -> None:
        self._core = core
        self._timeout_s = timeout_s
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sending = True
        self._answers = call(self._messages(), timeout=timeout_s, metadata=core.metadata())

    def __enter__(self) -> Self:
        """Nothing happens: the stream is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def send(
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
        """Send a request. Does not wait for its result. Arguments as in :meth:`Client.infer`.

        Raises:
            InvalidArgument: A value cannot be sent; nothing was.
            ClientClosed: The stream takes no more.
        """
        if not self._sending:
            raise ClientClosed("the stream takes no more requests: done_sending() or close() was called")
        request = request_of(model, inputs, named_inputs, version, outputs, request_id, parameters)
        encoded = self._core.encode(request)
        self._outgoing.put(encoded.message)

    def done_sending(self) -> None:
        """Say that no more requests come: the results of those sent can still be read, then the stream ends."""
        if self._sending:
            self._sending = False
            self._outgoing.put(None)

    def close(self) -> None:
        """End the stream at once; results that were not read are lost. Can be repeated."""
        self.done_sending()
        self._answers.cancel()

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> Result:
        """The next result. Blocks.

        Raises:
            ServerFault: This request failed; the stream goes on.
            ClientError: The stream failed.
            StopIteration: It is over.
        """
        try:
            message: bytes = next(self._answers)
        except grpc.RpcError as error:
            if not self._sending and self._answers.cancelled():
                raise StopIteration from None
            raise self._core.failure(error, "ModelStreamInfer", self._timeout_s) from error
        return decode_stream_answer(self._core, message)

    def _messages(self) -> Iterator[bytes]:
        """On a thread of grpc's."""
        while (message := self._outgoing.get()) is not None:
            yield message
