"""The lane of threads: each call has a connection of its own while it lasts, and blocks in its socket.

Nothing is handed from one thread to another, so a call costs its two system calls and what Python does around them.
Connections that are free wait in a stack, which no lock guards.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_client._lane.attempts import Budget
from sardonyx_client._lane.failure import LaneFailure, closed, deadline_exceeded
from sardonyx_client._lane.fields import FieldReader
from sardonyx_client._lane.line import Line
from sardonyx_client._lane.request import RequestBlocks
from sardonyx_client._lane.sockets import HANDSHAKE_S, connect_failure
from sardonyx_client._lane.target import one_server

if TYPE_CHECKING:
    from sardonyx_client._lane.request import Metadata
    from sardonyx_client._lane.target import Address, LaneSettings

__all__ = ["BlockingLane"]

# Each costs the server some ten kilobytes. Calls beyond go over the channel, which carries any number.
_MOST_LINES: Final = 64
# Connections that were not needed for so long are closed when a call ends.
_IDLE_S: Final = 60.0
# A connection that was used just now is not asked whether it is still one: if it is not, the call will find out.
_FRESH_S: Final = 0.05


class BlockingLane:
    """Calls to one server. Thread-safe.

    Args:
        settings: Where to, and how.
        path: Of the method.
    """

    def __init__(self, settings: LaneSettings, path: str) -> None:
        self._idle: deque[Line] = deque()
        self._lines: set[Line] = set()
        self._settings = settings
        self._blocks = RequestBlocks(settings.target.authority, path, settings.max_message_bytes)
        self._reader = FieldReader()
        self._budget = Budget(settings.retry)
        self._closed = threading.Event()
        self._one_server = True

    def __del__(self) -> None:
        # A client that nobody closed: its sockets go as quietly as a channel does.
        for line in self._lines:
            line.close()

    def close(self) -> None:
        """Disconnect; calls that are under way fail. From any thread, of the process that made the lane."""
        self._closed.set()
        while self._idle:
            try:
                self._drop(self._idle.pop())
            except IndexError:
                break
        for line in list(self._lines):
            line.interrupt()

    def call(self, message: bytes, timeout_s: float | None, metadata: Metadata) -> bytes | memoryview | None:
        """One call to its end, attempts included. Blocks.

        Returns:
            The answer's message; None where the channel must make this call: nothing was sent.

        Raises:
            LaneFailure: It failed.
        """
        block = self._blocks.block(timeout_s, metadata)
        if block is None or not self._blocks.takes(message):
            return None
        now_s = time.monotonic()
        deadline_s = None if timeout_s is None else now_s + timeout_s
        attempts = None
        while True:
            line = None
            try:
                line = self._line(now_s, deadline_s, sure=attempts is None)
                if line is None:
                    return None
                answer = line.call(block, message, timeout_s, deadline_s)
            except LaneFailure as failure:
                attempts = attempts or self._budget.attempts(endless=deadline_s is None)
                pause_s = None if self._closed.is_set() else attempts.pause_s(failure)
                if pause_s is None:
                    raise
            else:
                self._budget.succeeded()
                return answer
            finally:
                if line is not None:
                    self._put_back(line)
            now_s, timeout_s = self._pause(pause_s, deadline_s)
            block = self._blocks.block(timeout_s, metadata, attempts_before=attempts.failed) or block

    def _pause(self, pause_s: float, deadline_s: float | None) -> tuple[float, float | None]:
        """Before a further attempt: (the time then, what is left of the call's)."""
        left_s = pause_s if deadline_s is None else deadline_s - time.monotonic()
        self._closed.wait(max(0.0, min(pause_s, left_s)))
        now_s = time.monotonic()
        return now_s, None if deadline_s is None else deadline_s - now_s

    def _line(self, now_s: float, deadline_s: float | None, *, sure: bool) -> Line | None:
        """A connection that is free, or a new one; None where the channel must be taken.

        ``sure``: no attempt has failed yet. After one that did, what else waits may be of no more use either.
        """
        if deadline_s is not None and now_s >= deadline_s:
            raise deadline_exceeded()
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:
                break  # another thread was quicker
            if (sure and now_s - line.used_s < _FRESH_S) or line.still_open():
                return line
            self._drop(line)
        if len(self._lines) >= _MOST_LINES or not self._one_server:
            return None
        return self._connect(now_s, deadline_s)

    def _connect(self, now_s: float, deadline_s: float | None) -> Line | None:
        """A new connection; None where there is more than one server."""
        if self._closed.is_set():
            raise closed()
        target = self._settings.target
        try:
            addresses = self._addresses()
            if addresses is None:
                self._one_server = False
                return None
            problem: OSError = ConnectionRefusedError("it has no address")
            until_s = now_s + HANDSHAKE_S if deadline_s is None else min(deadline_s, now_s + HANDSHAKE_S)
            for address in addresses:
                try:
                    return self._connected(address, until_s)
                except OSError as error:
                    problem = error
            raise problem
        except OSError as error:
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise deadline_exceeded() from error
            raise connect_failure(target.authority, error) from error

    def _connected(self, address: Address, until_s: float) -> Line:
        line = Line(
            address[0],
            self._reader,
            max_message_bytes=self._settings.max_message_bytes,
            keepalive_s=self._settings.keepalive_s,
        )
        self._lines.add(line)
        try:
            line.connect(address[1], until_s)
        except BaseException:
            self._drop(line)
            raise
        if self._closed.is_set():
            line.interrupt()
        return line

    def _addresses(self) -> list[Address] | None:
        """Of the server, asked for anew: names move. None where there is more than one server."""
        target = self._settings.target
        if target.path:
            return [(socket.AF_UNIX, target.path)]
        try:
            return one_server(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except UnicodeError as error:
            raise OSError(str(error)) from error

    def _put_back(self, line: Line) -> None:
        if not line.reusable:
            self._drop(line)
            return
        self._idle.append(line)
        if self._closed.is_set():
            self.close()
            return
        try:
            oldest = self._idle[0]
            if line.used_s - oldest.used_s <= _IDLE_S:
                return
            self._idle.remove(oldest)
        except (IndexError, ValueError):
            return  # another thread was quicker
        self._drop(oldest)

    def _drop(self, line: Line) -> None:
        self._lines.discard(line)
        line.close()
