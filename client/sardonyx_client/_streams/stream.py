"""A synchronous stream of inference requests and results. See async_stream.py for asyncio."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Self

import grpc

from sardonyx_client._errors import ClientClosed
from sardonyx_client._request import build_request
from sardonyx_client._streams.codec import decode_stream_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from sardonyx_client._core import Core
    from sardonyx_client._values import ParameterValue, Result

__all__ = ["Stream"]


class Stream:
    """Many requests and their results, in order, over one call. From :meth:`Client.stream`; use it in a ``with``.

    One thread may send while another reads. The error of a request is raised by ``next``; the stream continues, and the
    next result can be read. An error of the stream itself ends it.
    """

    def __init__(self, core: Core, call: Any, timeout_s: float | None) -> None:
        self._core = core
        self._timeout_s = timeout_s
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sending = True
        self._answers = call(self._messages(), timeout=timeout_s, metadata=core.metadata())

    def __enter__(self) -> Self:
        """Does nothing: the stream is open."""
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
        """Send a request without waiting for its result. Arguments as in :meth:`Client.infer`.

        Raises:
            InvalidArgument: A value cannot be encoded; nothing was sent.
            ClientClosed: The stream accepts no more requests.
        """
        if not self._sending:
            raise ClientClosed("the stream takes no more requests: done_sending() or close() was called")
        request = build_request(model, inputs, named_inputs, version, outputs, request_id, parameters)
        encoded = self._core.encode(request)
        self._outgoing.put(encoded.message)

    def done_sending(self) -> None:
        """Half-close the stream: results of the requests sent can still be read, then the stream ends."""
        if self._sending:
            self._sending = False
            self._outgoing.put(None)

    def close(self) -> None:
        """Cancel the stream; unread results are lost. May be called repeatedly."""
        self.done_sending()
        self._answers.cancel()

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> Result:
        """The next result. Blocks.

        Raises:
            ServerFault: This request failed; the stream continues.
            ClientError: The stream failed.
            StopIteration: The stream has ended.
        """
        try:
            message: bytes = next(self._answers)
        except grpc.RpcError as error:
            if not self._sending and self._answers.cancelled():
                raise StopIteration from None
            raise self._core.failure(error, "ModelStreamInfer", self._timeout_s) from error
        return decode_stream_answer(self._core, message)

    def _messages(self) -> Iterator[bytes]:
        """Runs on a thread of grpcio."""
        while (message := self._outgoing.get()) is not None:
            yield message
