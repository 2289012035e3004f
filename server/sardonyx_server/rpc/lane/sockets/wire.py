"""A connected socket of the lane: reading, and writing what does not fit at once."""

from __future__ import annotations

import logging
import math
import select
import socket
import time
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.sockets.loopback import unpace
from sardonyx_server.rpc.lane.windows.outflow import FEW_BYTES
from sardonyx_wire.http2.broken import ConnectionBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.rpc.lane.sockets.owner import Owner

_LOG = logging.getLogger("sardonyx.lane")

__all__ = ["Wire"]

_READ_BYTES: Final = 64 * 1024
# While a message of many frames comes.
_LARGE_READ_BYTES: Final = 256 * 1024
# More than this is written from where it lies.
_JOINED_BYTES: Final = 128 * 1024
# Pieces in one write (IOV_MAX); in frames of 16 KiB some 8 MiB, more than a socket takes.
_BUFFERS: Final = 1024
# Who does not read its answers is not read either, once so much waits for its socket.
_MOST_WAITING_BYTES: Final = 4 << 20
# How long the other side has to close, once all is said: it may still be reading.
_LINGER_S: Final = 2.0
_READ: Final = select.EPOLLIN | select.EPOLLRDHUP


class Wire:
    """A connected socket. Used on the lane's thread only.

    Args:
        connected: Not blocking; closed with the wire.
        owner: Is told what comes, and says what goes.
        epoll: Where it is watched.
        on_closed: Called once, when it is closed.
        on_said_all: Called once, when nothing more is said: it shall be closed soon, by :meth:`expire`.

    Attributes:
        owner: As given.
        fd: Its number; -1 once it is closed.
        deadline_s: When :meth:`expire` is due, on ``time.monotonic``; who sets it sees to that.
    """

    __slots__ = (
        "__weakref__", "_epoll", "_events", "_on_closed", "_on_said_all", "_paced", "_read_bytes", "_said_all",
        "_socket", "_waiting", "_waiting_bytes", "deadline_s", "fd", "owner",
    )  # fmt: skip

    def __init__(
        self,
        connected: socket.socket,
        owner: Owner,
        epoll: select.epoll,
        *,
        on_closed: Callable[[Wire], None],
        on_said_all: Callable[[Wire], None],
    ) -> None:
        self._socket = connected
        self.owner = owner
        self._epoll = epoll
        self._on_closed = on_closed
        self._on_said_all = on_said_all
        self.deadline_s = math.inf
        self.fd = connected.fileno()
        self._read_bytes = _READ_BYTES
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._said_all = False
        # Until it has much to say.
        self._paced = True
        self._events = _READ
        epoll.register(self.fd, _READ)

    @property
    def is_writing(self) -> bool:
        """Whether something is still to be written, or to be let through by the other side's windows."""
        return bool(self._waiting or self.owner.outflow.held_bytes)

    @property
    def ended(self) -> bool:
        """Whether it is closed."""
        return self.fd < 0

    def expire(self) -> None:
        """The other side has had its time to close, or to say that it speaks HTTP/2."""
        if self._said_all or not self.owner.greeted:
            self.close()

    def on_events(self, events: int) -> None:
        """The socket is ready."""
        if events & select.EPOLLOUT:
            self._write_on()
        if events & ~select.EPOLLOUT and self.fd >= 0:
            self._read()

    def flush(self) -> None:
        """Write what the owner has, or as much as the socket takes."""
        out = self.owner.outflow.out
        if self.fd < 0:
            out.clear()
            return
        if self._waiting:
            self._waiting.extend(out)
            self._waiting_bytes += sum(map(len, out))
            out.clear()
            self._watch()
            return
        size = sum(map(len, out))
        if size > _JOINED_BYTES:
            if self._paced:
                self._paced = False
                unpace(self._socket)
            self._waiting, out[:] = out[:], ()
            self._waiting_bytes = size
            self._write_on()
            return
        if size:
            data = b"".join(out)
            out.clear()
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            if sent < size:
                self._waiting.append(memoryview(data)[sent:])
                self._waiting_bytes = size - sent
                self._write_on()
                return
        self._all_written()

    def close(self) -> None:
        """Close it now, and tell the owner."""
        if self.fd < 0:
            return
        with suppress(OSError):
            self._epoll.unregister(self.fd)
        self._on_closed(self)
        self.fd = -1
        self._socket.close()
        self._waiting.clear()
        self.owner.outflow.wait(0)
        self.owner.lost()

    def close_if_finished(self) -> None:
        """Close it where nothing more is to be said."""
        if self.fd >= 0 and self.owner.finished and not self._waiting and not self.owner.outflow.out:
            self._say_all()

    def _read(self) -> None:
        owner = self.owner
        data = b""
        try:
            room = owner.room
            if room is None:
                data = self._socket.recv(self._read_bytes)
                size = len(data)
                self._read_bytes = _LARGE_READ_BYTES if size >= _READ_BYTES else _READ_BYTES
            else:
                size = self._socket.recv_into(room)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.close()
        elif not self._said_all:
            try:
                if data:
                    owner.receive(data)
                else:
                    owner.filled(size)
            except ConnectionBroken as error:
                owner.break_off(error)
            except Exception:  # noqa: BLE001  # one connection must not end all others
                _LOG.exception("bug: a connection failed")
                self.close()

    def _write_on(self) -> None:
        """Write what waits."""
        waiting = self._waiting
        try:
            while waiting:
                sent = self._socket.sendmsg(waiting[:_BUFFERS])
                self._waiting_bytes -= sent
                if not self._waiting_bytes:
                    waiting.clear()
                    break
                _drop(waiting, sent)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._watch()
        if not waiting and not self.owner.outflow.out:
            self._all_written()

    def _all_written(self) -> None:
        owner, outflow = self.owner, self.owner.outflow
        if outflow.put_bytes:
            outflow.wait(0)
        if outflow.ahead < FEW_BYTES:
            owner.written()
        if owner.finished and not outflow.out:
            self._say_all()

    def _watch(self) -> None:
        events = _READ
        self.owner.outflow.wait(self._waiting_bytes)
        if self._waiting:
            # While the socket takes nothing, data that windows hold back wait for it as well.
            too_much = self._waiting_bytes + self.owner.outflow.held_bytes > _MOST_WAITING_BYTES
            events = select.EPOLLOUT if too_much else _READ | select.EPOLLOUT
        if events != self._events:
            self._events = events
            self._epoll.modify(self.fd, events)

    def _say_all(self) -> None:
        """Nothing more is said.

        What the peer still says is read and dropped: to close with that unread would take back what was sent last.
        """
        if not self._said_all:
            self._said_all = True
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
            else:
                self.deadline_s = time.monotonic() + _LINGER_S
                self._on_said_all(self)


def _drop(parts: list[bytes | memoryview], size: int) -> None:
    """Take the first so many bytes out of the parts."""
    ends = list(accumulate(map(len, parts[:_BUFFERS])))
    gone = bisect_right(ends, size)
    begun = size - (ends[gone - 1] if gone else 0)
    del parts[:gone]
    if begun:
        parts[0] = memoryview(parts[0])[begun:]
