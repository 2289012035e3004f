"""uvicorn, woken once a second in place of ten times: a server that nobody asks should sleep.

Where the process has no file descriptors left it says so once a minute, not with hundreds of tracebacks a second. Who
connects and asks nothing, or half a request, is shown out: uvicorn would keep the connection, and refuse probes when it
has 64 of them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from sardonyx_server.log_rate_limiter import LogRateLimiter

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

__all__ = ["Complaints", "HttpServer", "Silent"]

_LOG = logging.getLogger("sardonyx.http")

# As often as uvicorn renews the header Date, which is all that it wakes up for.
_TICK_S: Final = 1.0
# What asks does so at once; between two requests uvicorn waits for 5 s.
_ASKS_WITHIN_S: Final = 10.0
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Complaints:
    """What an event loop does with an error that nobody caught: a handler for ``loop.set_exception_handler``.

    asyncio tries to take a connection as often as its backlog is long, and reports each failure with a traceback.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_limiter = LogRateLimiter(clock)

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Logs it. Called on the loop's thread."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_DESCRIPTORS:
            loop.default_exception_handler(context)
            return
        if self._log_limiter.allow():
            _LOG.warning(
                "cannot take more connections for now; raise the limit of open files (ulimit -n)",
                extra={"reason": str(error)},
            )


class Silent:
    """Connections on which nothing is asked, or not to the end, and since when. Not thread-safe."""

    def __init__(self) -> None:
        # With what was asked last: it is another one where something was asked between two looks.
        self._since_s: dict[Any, tuple[Any, float]] = {}

    def late(self, connections: Iterable[Any], now_s: float) -> list[Any]:
        """Those that have had their time.

        Args:
            connections: All there are: uvicorn's protocols for HTTP. Their ``cycle`` is the last request, None before
                the first.
            now_s: Seconds, monotonic.
        """
        before, self._since_s = self._since_s, {}
        for one in connections:
            last = getattr(one, "cycle", None)
            if last is None or last.response_complete:
                known, since_s = before.get(one, (last, now_s))
                self._since_s[one] = last, since_s if known is last else now_s
        return [one for one, (_, since_s) in self._since_s.items() if now_s - since_s >= _ASKS_WITHIN_S]


class HttpServer(uvicorn.Server):
    """As uvicorn has it, but for what it does between requests.

    Args:
        config: As for uvicorn.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._woken = asyncio.Event()
        self._loop: AbstractEventLoop | None = None
        self._silent = Silent()

    async def main_loop(self) -> None:
        """Wait until the server shall end."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(Complaints())
        # 0: of its ticks that which renews the header.
        while not await self.on_tick(0):
            for connection in self._silent.late(self.server_state.connections, time.monotonic()):
                connection.shutdown()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._woken.wait()

    def end(self) -> None:
        """Have it end, soon. Any thread; before it runs, too."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._woken.set)
