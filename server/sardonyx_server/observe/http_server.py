"""A uvicorn server that wakes up once a second instead of ten times, so that an idle process sleeps.

If the process runs out of file descriptors, it logs this once a minute instead of hundreds of tracebacks a second.
Connections without a complete request are closed after a timeout: uvicorn would keep them, and refuse probes once there
are 64 of them.
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

__all__ = ["AcceptErrorHandler", "HttpServer", "IdleConnections"]

_LOG = logging.getLogger("sardonyx.http")

# uvicorn renews the Date header once a second; nothing else needs a wake-up.
_TICK_S: Final = 1.0
# Clients send their request at once; between two requests uvicorn's keep-alive timeout of 5 s applies.
_IDLE_TIMEOUT_S: Final = 10.0
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class AcceptErrorHandler:
    """Handler for ``loop.set_exception_handler`` that limits the logging of failed accept() calls.

    asyncio retries accept() as often as its backlog is long, and reports each failure with a traceback.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_limiter = LogRateLimiter(clock)

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log the error. Called on the loop's thread."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_DESCRIPTORS:
            loop.default_exception_handler(context)
            return
        if self._log_limiter.allow():
            _LOG.warning(
                "cannot accept connections for now; raise the limit of open files (ulimit -n)",
                extra={"reason": str(error)},
            )


class IdleConnections:
    """Tracks connections without a complete request and since when. Not thread-safe."""

    def __init__(self) -> None:
        # connection -> (its last request, idle since). The last request differs if one was made between two calls.
        self._since_s: dict[Any, tuple[Any, float]] = {}

    def expired(self, connections: Iterable[Any], now_s: float) -> list[Any]:
        """The connections whose idle timeout is over.

        Args:
            connections: All open connections: uvicorn's HTTP protocols, whose ``cycle`` is the last request, None
                before the first.
            now_s: Monotonic time in seconds.
        """
        before, self._since_s = self._since_s, {}
        for one in connections:
            last = getattr(one, "cycle", None)
            if last is None or last.response_complete:
                known, since_s = before.get(one, (last, now_s))
                self._since_s[one] = last, since_s if known is last else now_s
        return [one for one, (_, since_s) in self._since_s.items() if now_s - since_s >= _IDLE_TIMEOUT_S]


class HttpServer(uvicorn.Server):
    """uvicorn's server with a different main loop.

    Args:
        config: As for uvicorn.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._wake = asyncio.Event()
        self._loop: AbstractEventLoop | None = None
        self._idle = IdleConnections()

    async def main_loop(self) -> None:
        """Run until the server is to stop."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(AcceptErrorHandler())
        # Tick 0 is the one that renews the Date header.
        while not await self.on_tick(0):
            for connection in self._idle.expired(self.server_state.connections, time.monotonic()):
                connection.shutdown()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()

    def end(self) -> None:
        """Stop the server soon. Callable from any thread, also before it runs."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                self._loop.call_soon_threadsafe(self._wake.set)
