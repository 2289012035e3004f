"""The lane of an event loop: all calls are streams of one connection. See blocking.py for its twin."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from sardonyx_client._lane.attempts import Budget
from sardonyx_client._lane.failure import LaneFailure, closed, deadline_exceeded
from sardonyx_client._lane.fields import FieldReader
from sardonyx_client._lane.request import RequestBlocks
from sardonyx_client._lane.sockets import HANDSHAKE_S, INTERNET, connect_failure, tune
from sardonyx_client._lane.target import one_server
from sardonyx_client._lane.task_line import TaskLine

if TYPE_CHECKING:
    from sardonyx_client._lane.request import Metadata
    from sardonyx_client._lane.target import Address, LaneSettings

__all__ = ["TaskLane"]


class TaskLane:
    """Calls to one server, in the event loop where it is first used.

    Args:
        settings: Where to, and how.
        path: Of the method.
    """

    def __init__(self, settings: LaneSettings, path: str) -> None:
        self._settings = settings
        self._blocks = RequestBlocks(settings.target.authority, path, settings.max_message_bytes)
        self._reader = FieldReader()
        self._budget = Budget(settings.retry)
        self._line: TaskLine | None = None
        # Those that the server is about to close, and calls still run on.
        self._draining: set[TaskLine] = set()
        self._connecting: asyncio.Task[TaskLine | OSError | None] | None = None
        self._closed = asyncio.Event()
        self._one_server = True

    async def close(self) -> None:
        """Disconnect; calls that are under way fail."""
        self._closed.set()
        if self._connecting is not None:
            self._connecting.cancel()
        lines = [*self._draining, *([] if self._line is None else [self._line])]
        for line in lines:
            line.close()
        for line in lines:
            await line.gone

    async def call(self, message: bytes, timeout_s: float | None, metadata: Metadata) -> bytes | memoryview | None:
        """One call to its end, attempts included. See ``BlockingLane.call``."""
        block = self._blocks.block(timeout_s, metadata)
        if block is None or not self._blocks.takes(message):
            return None
        loop = asyncio.get_running_loop()
        deadline_s = None if timeout_s is None else loop.time() + timeout_s
        attempts = None
        while True:
            try:
                if timeout_s is not None and timeout_s <= 0:
                    raise deadline_exceeded()
                line = self._line
                if line is None or line.draining:
                    line = await self._connected(deadline_s)
                if line is None or not line.usable:
                    return None  # more than one server, or as many calls on this one as it allows
                answer = await line.call(block, message, deadline_s)
            except LaneFailure as failure:
                attempts = attempts or self._budget.attempts(endless=deadline_s is None)
                pause_s = None if self._closed.is_set() else attempts.pause_s(failure)
                if pause_s is None:
                    raise
            else:
                self._budget.succeeded()
                return answer
            timeout_s = await self._pause(pause_s, deadline_s)
            block = self._blocks.block(timeout_s, metadata, attempts_before=attempts.failed) or block

    async def _pause(self, pause_s: float, deadline_s: float | None) -> float | None:
        """Before a further attempt; returns what is left of the call's time."""
        loop = asyncio.get_running_loop()
        left_s = pause_s if deadline_s is None else deadline_s - loop.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), max(0.0, min(pause_s, left_s)))
        return None if deadline_s is None else deadline_s - loop.time()

    async def _connected(self, deadline_s: float | None) -> TaskLine | None:
        """A new connection, which all share who wait for one; None where the channel must be taken."""
        if not self._one_server:
            return None
        if self._closed.is_set():
            raise closed()
        loop = asyncio.get_running_loop()
        task = self._connecting
        if task is None or task.done():
            task = self._connecting = loop.create_task(self._connect())
        left_s = None if deadline_s is None else deadline_s - loop.time()
        done, _ = await asyncio.wait({task}, timeout=left_s)
        if not done:
            raise deadline_exceeded()
        authority = self._settings.target.authority
        if task.cancelled():
            raise closed()
        found = task.result()
        if isinstance(found, OSError):
            raise connect_failure(authority, found)
        return found

    async def _connect(self) -> TaskLine | OSError | None:
        """In a task of its own. A failure is returned, because each of those who wait raises its own."""
        target = self._settings.target
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                addresses = await self._addresses()
                if addresses is None:
                    self._one_server = False
                    return None
                problem: OSError = ConnectionRefusedError("it has no address")
                for address in addresses:
                    try:
                        self._keep(await self._speaking(address))
                    except OSError as error:
                        problem = error
                    else:
                        return self._line
                return problem
        except TimeoutError:
            return TimeoutError(f"{target.authority} does not answer")
        except (OSError, UnicodeError) as error:
            return error if isinstance(error, OSError) else OSError(str(error))

    async def _addresses(self) -> list[Address] | None:
        """Of the server, asked for anew: names move. None where there is more than one server."""
        target = self._settings.target
        if target.path:
            return [(socket.AF_UNIX, target.path)]
        loop = asyncio.get_running_loop()
        return one_server(await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))

    async def _speaking(self, address: Address) -> TaskLine:
        """A connection whose server has said that it speaks HTTP/2."""
        loop = asyncio.get_running_loop()
        raw = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            raw.setblocking(False)  # noqa: FBT003  # its only argument
            await loop.sock_connect(raw, address[1])
            tune(raw, self._settings.keepalive_s)
            line = TaskLine(self._reader, self._settings.max_message_bytes)
            if address[0] in INTERNET:
                await loop.create_connection(lambda: line, sock=raw)
            else:
                await loop.create_unix_connection(lambda: line, sock=raw)
        except BaseException:
            raw.close()
            raise
        try:
            await line.ready
        except BaseException:
            line.close()
            raise
        if not line.usable:
            line.close()
            raise ConnectionAbortedError(line.reason)
        return line

    def _keep(self, line: TaskLine) -> None:
        """It takes calls from now on; the one before is left to those that run on it."""
        before = self._line
        if before is not None and not before.gone.done():
            self._draining.add(before)
            before.gone.add_done_callback(lambda _: self._draining.discard(before))
        self._line = line
