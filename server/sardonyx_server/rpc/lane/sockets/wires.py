"""The lane's connected sockets: whose each is, who has something to be written, and who waits until all are closed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.sockets.wire import Wire

if TYPE_CHECKING:
    import select
    import socket
    from collections.abc import Callable

    from sardonyx_server.rpc.lane.sockets.owner import Owner

__all__ = ["Wires"]

# How long callers have to close once they have all their answers and were told to go.
_GOODBYE_S: Final = 0.5


class Wires:
    """Of one lane. Used on its thread, but for what says so.

    Args:
        epoll: Where they are watched.
        on_said_all: Told of each that shall be closed soon, by its ``expire``.

    Attributes:
        by_fd: Those that are open, by number.
        touched: Whose have something to be written.
        closing: Whether each is to be closed once nothing more is to be said on it.
    """

    __slots__ = ("_epoll", "_of_owner", "_on_said_all", "_one_gone", "by_fd", "closing", "touched")

    def __init__(self, epoll: select.epoll, on_said_all: Callable[[Wire], None]) -> None:
        self._epoll = epoll
        self._on_said_all = on_said_all
        self.by_fd: dict[int, Wire] = {}
        self.touched: list[Owner] = []
        self.closing = False
        self._of_owner: dict[Owner, Wire] = {}
        self._one_gone = threading.Event()

    @property
    def owners(self) -> list[Owner]:
        """Whose they are."""
        return list(self._of_owner)

    def add(self, connected: socket.socket, owner: Owner) -> Wire:
        """Have a socket watched.

        Raises:
            OSError: The kernel watches no more for this user.
        """
        wire = Wire(connected, owner, self._epoll, on_closed=self._forget, on_said_all=self._on_said_all)
        self._of_owner[owner] = self.by_fd[wire.fd] = wire
        return wire

    def flush(self) -> None:
        """Write what there is to say."""
        touched, of_owner = self.touched, self._of_owner
        while touched:
            wire = of_owner.get(touched.pop())
            if wire is not None:
                wire.flush()
        if self.closing:
            for wire in list(of_owner.values()):
                wire.close_if_finished()

    def close(self) -> None:
        """Close all of them now."""
        for wire in list(self.by_fd.values()):
            wire.close()

    def wait(self, patience_s: float) -> None:
        """Wait until callers have taken what was answered, and closed. Any other thread; blocks."""
        began_s = time.monotonic()
        while self.by_fd and (waited_s := time.monotonic() - began_s) < patience_s:
            if waited_s >= _GOODBYE_S and not any(wire.is_writing for wire in list(self.by_fd.values())):
                break  # Who has heard all and does not close is waited for no longer.
            self._one_gone.wait(_GOODBYE_S / 10)
            self._one_gone.clear()

    def _forget(self, wire: Wire) -> None:
        del self.by_fd[wire.fd]
        del self._of_owner[wire.owner]
        self._one_gone.set()
