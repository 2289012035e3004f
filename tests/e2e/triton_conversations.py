"""Tritonclient, unmodified, both of its clients with one face: every method is awaited. Holds no checks.

A test module that imports this one is skipped where tritonclient is not installed.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.e2e.servers import Server

__all__ = ["ANSWER_TIMEOUT_S", "KINDS", "ONES", "Conversation", "memory", "ones", "public_methods", "talk", "utilities"]

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
aio: Any = pytest.importorskip("tritonclient.grpc.aio")
utilities: Any = pytest.importorskip("tritonclient.utils")
memory: Any = pytest.importorskip("tritonclient.utils.shared_memory")

KINDS: Final = ("sync", "aio")
ANSWER_TIMEOUT_S: Final = 20.0
ONES: Final = np.ones((1, 4), np.float32)
_MODULES: Final = {"sync": triton, "aio": aio}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One client that is connected.

    Attributes:
        client: The client; its methods are awaited whichever it is, all but those of streams and callbacks.
        plain: The same without that: tritonclient's own object.
        kind: ``sync`` or ``aio``.
        server: Who it talks to.
        metadata: Of every call that the server has seen.
    """

    client: Any
    plain: Any
    kind: str
    server: Server
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)

    def tensor(self, name: str, array: NDArray[Any], datatype: str) -> Any:
        """An input with data, as its users make it."""
        made = _MODULES[self.kind].InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made

    def output(self, name: str, **more: Any) -> Any:
        """A requested output."""
        return _MODULES[self.kind].InferRequestedOutput(name, **more)

    def gate_inputs(self) -> list[Any]:
        """One row for the model ``gate``, which tests can hold."""
        return [
            self.tensor("x", np.ones((1, 2), np.float32), "FP32"),
            self.tensor("index", np.zeros((1, 1), np.int64), "INT64"),
            self.tensor("trips", np.zeros((1, 1), np.int64), "INT64"),
        ]

    async def stream(self, requests: Iterable[dict[str, Any]], **more: Any) -> list[tuple[Any, Any]]:
        """Send requests on one stream; (result, error) of each, in the order they come."""
        wanted = list(requests)
        if self.kind == "aio":

            async def sending() -> AsyncIterator[dict[str, Any]]:
                for request in wanted:
                    yield request

            return [answer async for answer in self.plain.stream_infer(sending(), **more)]
        answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        self.plain.start_stream(lambda result, error: answers.put((result, error)), **more)
        try:
            for request in wanted:
                self.plain.async_stream_infer(**request)
            return [await asyncio.to_thread(answers.get, timeout=ANSWER_TIMEOUT_S) for _ in wanted]
        finally:
            self.plain.stop_stream()


def ones(on: Conversation) -> list[Any]:
    """Inputs of the model ``affine``."""
    return [on.tensor("x", ONES, "FP32")]


class _Awaited:
    """The sync client with the face of the other one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def call(*arguments: Any, **more: Any) -> Any:
            return method(*arguments, **more)

        return call


def public_methods(kind: str) -> set[str]:
    """Names of what a client offers."""
    return {name for name in dir(_MODULES[kind].InferenceServerClient) if not name.startswith("_")}


def talk(kind: str, server: Server, check: Callable[[Conversation], Any], metadata: list[Any] | None = None) -> None:
    """Connect, run a check, and close.

    Args:
        kind: ``sync`` or ``aio``.
        server: Who to connect to.
        check: A coroutine function.
        metadata: Where the server notes the metadata of calls; None where it does not.
    """
    asyncio.run(_talk(kind, server, check, [] if metadata is None else metadata))


async def _talk(kind: str, server: Server, check: Callable[[Conversation], Any], metadata: list[Any]) -> None:
    client = _MODULES[kind].InferenceServerClient(server.app.address)
    try:
        face = client if kind == "aio" else _Awaited(client)
        await check(Conversation(client=face, plain=client, kind=kind, server=server, metadata=metadata))
    finally:
        closing = client.close()
        if kind == "aio":
            await closing
