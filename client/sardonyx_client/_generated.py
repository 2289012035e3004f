"""Base classes of generated code: one model, and the signature that the server's model must have. Sync and async."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from sardonyx_client._errors import DeadlineExceeded, InvalidArgument, ModelChanged
from sardonyx_client._timeout import CLIENT_DEFAULT, Deadline, resolve_timeout_s

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

    from sardonyx_client._async_client import AsyncClient
    from sardonyx_client._client import Client
    from sardonyx_client._signature import ModelSignature
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import ParameterValue, Result

__all__ = ["AsyncGeneratedModel", "GeneratedModel"]

I = TypeVar("I")  # noqa: E741  # inputs; O is outputs
O = TypeVar("O")  # noqa: E741


class GeneratedModel(Generic[I, O]):
    """One model of a server, with the signature that code was generated from. Threads may share it.

    Args:
        client: Client of the server.
        signature: Signature that the server's model must have.
        values: Generated inputs -> values in the order of the signature.
        outputs: Result -> generated outputs; raises ModelChanged.
        version: Version to run; "" = the newest that is ready.
    """

    __slots__ = ("_checked", "_client", "_outputs", "_signature", "_values", "_version")

    def __init__(
        self,
        client: Client,
        signature: ModelSignature,
        values: Callable[[I], Sequence[ArrayLike | None]],
        outputs: Callable[[Result], O],
        version: str | int,
    ) -> None:
        self._client = client
        self._signature = signature
        self._values = values
        self._outputs = outputs
        self._version = str(version)
        self._checked = False

    def check(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> None:
        """Fetch the model's signature from the server, and compare it with that of the code.

        Raises:
            ModelChanged: They differ; the message says how.
            ClientError: Any other failure.
        """
        self._checked = False
        self._signature.check(self._client.metadata(self._signature.model, self._version, timeout_s=timeout_s))
        self._checked = True

    def infer(
        self,
        inputs: I,
        *,
        timeout_s: Timeout,
        request_id: str,
        parameters: Mapping[str, ParameterValue] | None,
    ) -> O:
        """Run the model once. The first call also fetches the signature, within the same timeout.

        Raises:
            ModelChanged: The server's model has another signature.
            InvalidArgument: An argument does not match the signature; the message names it.
            ClientError: Any other failure.
        """
        arrays = self._signature.bind(self._values(inputs))
        deadline = Deadline(resolve_timeout_s(timeout_s, self._client.timeout_s))
        if not self._checked:
            self.check(timeout_s=deadline.remaining_s)
        try:
            result = self._client.infer(
                self._signature.model,
                arrays,
                version=self._version,
                request_id=request_id,
                parameters=parameters,
                timeout_s=deadline.remaining_s,
            )
        except InvalidArgument:
            with suppress(DeadlineExceeded):  # the model may have been replaced since: then that is the error
                self.check(timeout_s=deadline.remaining_s)
            raise
        return self._convert(result)

    def infer_many(
        self,
        requests: Iterable[I],
        *,
        window: int,
        timeout_s: Timeout,
        parameters: Mapping[str, ParameterValue] | None,
    ) -> Iterator[O]:
        """Run the model on many requests, with several in flight at once. As :meth:`Client.infer_many`."""
        self.check(timeout_s=timeout_s)
        results = self._client.infer_many(
            self._signature.model,
            (self._signature.bind(self._values(inputs)) for inputs in requests),
            window=window,
            version=self._version,
            parameters=parameters,
            timeout_s=timeout_s,
        )
        for result in results:
            yield self._convert(result)

    def _convert(self, result: Result) -> O:
        try:
            return self._outputs(result)
        except ModelChanged:
            self._checked = False
            raise


class AsyncGeneratedModel(Generic[I, O]):
    """One model of a server, for asyncio. See :class:`GeneratedModel`."""

    __slots__ = ("_checked", "_client", "_outputs", "_signature", "_values", "_version")

    def __init__(
        self,
        client: AsyncClient,
        signature: ModelSignature,
        values: Callable[[I], Sequence[ArrayLike | None]],
        outputs: Callable[[Result], O],
        version: str | int,
    ) -> None:
        self._client = client
        self._signature = signature
        self._values = values
        self._outputs = outputs
        self._version = str(version)
        self._checked = False

    async def check(self, *, timeout_s: Timeout = CLIENT_DEFAULT) -> None:
        """See :meth:`GeneratedModel.check`."""
        self._checked = False
        self._signature.check(await self._client.metadata(self._signature.model, self._version, timeout_s=timeout_s))
        self._checked = True

    async def infer(
        self,
        inputs: I,
        *,
        timeout_s: Timeout,
        request_id: str,
        parameters: Mapping[str, ParameterValue] | None,
    ) -> O:
        """See :meth:`GeneratedModel.infer`."""
        arrays = self._signature.bind(self._values(inputs))
        deadline = Deadline(resolve_timeout_s(timeout_s, self._client.timeout_s))
        if not self._checked:
            await self.check(timeout_s=deadline.remaining_s)
        try:
            result = await self._client.infer(
                self._signature.model,
                arrays,
                version=self._version,
                request_id=request_id,
                parameters=parameters,
                timeout_s=deadline.remaining_s,
            )
        except InvalidArgument:
            with suppress(DeadlineExceeded):  # as in GeneratedModel
                await self.check(timeout_s=deadline.remaining_s)
            raise
        return self._convert(result)

    async def infer_many(
        self,
        requests: Iterable[I],
        *,
        window: int,
        timeout_s: Timeout,
        parameters: Mapping[str, ParameterValue] | None,
    ) -> AsyncIterator[O]:
        """See :meth:`GeneratedModel.infer_many`."""
        await self.check(timeout_s=timeout_s)
        results = self._client.infer_many(
            self._signature.model,
            (self._signature.bind(self._values(inputs)) for inputs in requests),
            window=window,
            version=self._version,
            parameters=parameters,
            timeout_s=timeout_s,
        )
        async for result in results:
            yield self._convert(result)

    def _convert(self, result: Result) -> O:
        try:
            return self._outputs(result)
        except ModelChanged:
            self._checked = False
            raise
