"""uvicorn, woken once a second in place of ten times: a server that nobody asks should sleep."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import uvicorn

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["HttpServer"]

# As often as uvicorn renews the header Date, which is all that it wakes up for.
_TICK_S: Final = 1.0


class HttpServer(uvicorn.Server):
    """As uvicorn has it, but for what it does between requests.

    Args:
        config: As for uvicorn.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._woken = asyncio.Event()
        self._loop: AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Wait until the server shall end."""
        self._loop = asyncio.get_running_loop()
        # 0: of its ticks that which renews the header.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._woken.wait()

    def end(self) -> None:
        """Have it end, soon. Any thread; before it runs, too."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._woken.set)
