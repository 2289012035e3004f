"""The connections of one sending process, and the wait for what comes on them. Knows no load.

A connection that is lost is opened anew; one that the server closes with a goodbye, or that has no more numbers for
streams, ends its calls beside the one that takes its place.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from sardonyx_client._lane.fields import FieldReader
from sardonyx_server.load.loops import LoadFailed
from sardonyx_server.load.polled_line import PolledLine
from sardonyx_wire.http2.errors import Http2ConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._lane.target import Address, LaneTarget

__all__ = ["GrpcLines", "Interrupted"]

_PAUSE_NS: Final = 100_000_000
"""From a connection that was lost to the next try: short for a server that starts anew, long beside a request."""

_NS_PER_S: Final = 1_000_000_000
# select() of the C library takes no file with a higher number (FD_SETSIZE).
_MOST_FILES: Final = 1024


class Interrupted(Exception):
    """What may interrupt the wait has done so."""


class GrpcLines:
    """Connections to one server. Used by one thread.

    Args:
        target: The server.
        count: How many connections; at least 1.
        interrupt: A file; when it can be read, whoever waits is interrupted. None = nothing interrupts.

    Attributes:
        on_answers: Called when calls may have ended on one of the connections.
        on_refusal: Called when there is no connection left, and none is being opened.
    """

    def __init__(self, target: LaneTarget, count: int, *, interrupt: int | None) -> None:
        self._target = target
        self._reader = FieldReader()
        self._interrupt = -1 if interrupt is None else interrupt
        # By number of the file: those to read from, and of those the ones that did not take all that is to be sent.
        self._read: dict[int, PolledLine | None] = {} if interrupt is None else {interrupt: None}
        self._blocked: set[int] = set()
        self._addresses: list[Address] = []
        self._slots: list[PolledLine | None] = [None] * count
        self._missing = count
        self._retry_ns = 0
        self._unflushed: set[PolledLine] = set()
        self.on_answers: Callable[[], None] = _nothing
        self.on_refusal: Callable[[], None] = _nothing
        self._problem: Exception | None = None

    def connect(self, timeout_s: float) -> None:
        """Find the server and open all connections. Blocks.

        Raises:
            Interrupted: See ``interrupt``.
            LoadFailed: Not all of them speak HTTP/2 by then; says why, if that is known.
        """
        authority = self._target.authority
        until_ns = time.monotonic_ns() + round(timeout_s * _NS_PER_S)
        try:
            self._addresses = _addresses(self._target)
        except (OSError, UnicodeError) as error:
            raise LoadFailed(f"no connection to {authority}: {error}") from error
        while not all(line is not None and line.http.ready for line in self._slots):
            left_ns = until_ns - time.monotonic_ns()
            if left_ns <= 0:
                reason = self._problem or "it says nothing"
                raise LoadFailed(f"no connection to {authority} within {timeout_s:g} s: {reason}")
            self.turn(left_ns)

    def close(self) -> None:
        """Disconnect. Calls that are under way fail."""
        for line in self._read.values():
            if line is not None:
                line.close()

    def usable(self, number: int) -> PolledLine | None:
        """The connection of that number, or another one that may carry a call; None where there is none now."""
        slots = self._slots
        count = len(slots)
        for index in range(number, number + count):
            line = slots[index % count]
            if line is not None and line.http.usable:
                return line
        return None

    def flush_soon(self, line: PolledLine) -> None:
        """Something is to be sent on it: :meth:`turn` sends it, together with what else there is by then."""
        self._unflushed.add(line)

    def turn(self, wait_ns: int) -> None:
        """Send what is to be sent, wait at most so long until something comes, and take that in.

        Raises:
            Interrupted: See ``interrupt``.
        """
        if self._missing:
            wait_ns = min(wait_ns, self._open(time.monotonic_ns()))
        self._flush()
        # epoll would count in milliseconds, and a second call be needed for a wait that is shorter.
        readable, writable, _ = select.select(self._read, self._blocked, (), max(wait_ns, 0) / _NS_PER_S)
        for number in writable:
            line = self._read.get(number)
            if line is not None:
                self._unflushed.add(line)
        self._flush()
        for number in readable:
            line = self._read.get(number)
            if line is not None:
                self._receive(line)
                self.on_answers()
                self._flush()
            elif number == self._interrupt:
                raise Interrupted

    def _receive(self, line: PolledLine) -> None:
        try:
            line.receive()
        except (OSError, Http2ConnectionError) as error:
            self._lose(line, error)
            return
        if line.http.draining:
            self._replace(line)
            if not line.http.streams:
                self._drop(line)
                return
        if line.http.out:
            self._unflushed.add(line)

    def _flush(self) -> None:
        while self._unflushed:
            line = self._unflushed.pop()
            try:
                done = line.flush()
            except OSError as error:
                self._lose(line, error)
                self.on_answers()
            else:
                (self._blocked.discard if done else self._blocked.add)(line.fileno())

    def _open(self, now_ns: int) -> int:
        """Open what is missing, if it is time for that. Returns for how long to wait before the next try."""
        if now_ns >= self._retry_ns:
            for index, line in enumerate(self._slots):
                if line is None:
                    try:
                        opened = PolledLine(self._addresses[0], self._reader)
                    except OSError as error:
                        self._failed(error)
                        break
                    self._slots[index] = opened
                    self._missing -= 1
                    number = opened.fileno()
                    if number >= _MOST_FILES:
                        opened.close()
                        raise LoadFailed(
                            f"{len(self._slots)} connections are too many for a sending process; use more of these"
                        )
                    self._read[number] = opened
                    self._blocked.add(number)  # until it is connected
        return max(self._retry_ns - now_ns, 0) if self._missing else _PAUSE_NS

    def _lose(self, line: PolledLine, problem: Exception) -> None:
        spoke = line.http.ready
        self._drop(line, problem)
        if self._replace(line):
            self._failed(problem, spoke=spoke)

    def _failed(self, problem: Exception, *, spoke: bool = False) -> None:
        """A connection is gone, or there never was one: the next try is at another address then."""
        self._problem = problem
        self._retry_ns = time.monotonic_ns() + _PAUSE_NS
        if not spoke:
            self._addresses = [*self._addresses[1:], self._addresses[0]]
        if not any(self._slots):
            self.on_refusal()

    def _replace(self, line: PolledLine) -> bool:
        """Leave its place to another one; whether it had it still."""
        if line not in self._slots:
            return False
        self._slots[self._slots.index(line)] = None
        self._missing += 1
        return True

    def _drop(self, line: PolledLine, problem: Exception | None = None) -> None:
        self._unflushed.discard(line)
        number = line.fileno()
        del self._read[number]
        self._blocked.discard(number)
        line.close(problem)


def _addresses(target: LaneTarget) -> list[Address]:
    """Where to connect, in order. Several are taken for one server."""
    if target.path:
        return [(socket.AF_UNIX, target.path)]
    infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return [(info[0], info[4]) for info in infos]


def _nothing() -> None:
    """Nobody is told."""
