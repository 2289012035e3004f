"""Client and AsyncClient, called in one way, so that one suite holds for both."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Self

from sardonyx_client import AsyncClient, Client
from sardonyx_client._model import AsyncModel
from sardonyx_client._repository import AsyncRepository
from sardonyx_client._shared_memory import AsyncSharedMemory

__all__ = ["CLIENT_CLASSES"]


class _Blocking:
    """An AsyncClient that is called like a Client: what takes time is run to its end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        return _blocking(getattr(self._client, name), self._runner)

    def close_from_outside(self) -> None:
        """While another thread is in a call."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._runner.get_loop())


def _blocking(member: Any, runner: asyncio.Runner) -> Any:
    if not callable(member):
        return type("Blocking", (), {"__getattr__": lambda _, name: _blocking(getattr(member, name), runner)})()

    def call(*arguments: Any, **options: Any) -> Any:
        found = member(*arguments, **options)
        if inspect.isasyncgen(found):

            async def collect() -> list[Any]:
                return [each async for each in found]

            return iter(runner.run(collect()))
        if inspect.isawaitable(found):

            async def wait() -> Any:
                return await found

            return runner.run(wait())
        return _blocking(found, runner) if isinstance(found, AsyncModel) else found

    if isinstance(member, AsyncModel | AsyncRepository | AsyncSharedMemory):
        return type("Blocking", (), {"__getattr__": lambda _, name: _blocking(getattr(member, name), runner)})()
    return call


class _Threaded(Client):
    """A Client that can be closed as an _Blocking can."""

    def close_from_outside(self) -> None:
        self.close()


CLIENT_CLASSES = {"sync": _Threaded, "async": _Blocking}
