"""Listening sockets: accepts connections, and pauses while the process has no file descriptors left."""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.log_rate_limiter import LogRateLimiter
from sardonyx_server.rpc.listening import cannot_listen

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Listeners", "peer_name"]

_LOG = logging.getLogger("sardonyx.lane")

_BACKLOG: Final = 4096
_ACCEPTED_AT_ONCE: Final = 64
# How long to accept nothing when the process has no file descriptors left.
_PAUSE_S: Final = 0.1
_NOT_LOCAL: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listeners:
    """The listening sockets of one lane.

    Args:
        epoll: Watches them.
        on_accepted: Called with each accepted socket.
    """

    def __init__(self, epoll: select.epoll, on_accepted: Callable[[socket.socket], None]) -> None:
        self._epoll = epoll
        self._on_accepted = on_accepted
        self._listeners: dict[int, socket.socket] = {}
        self._resume_s: float | None = None
        self._log_limit = LogRateLimiter()

    def listen(self, host: str, port: int) -> int:
        """Listen on all addresses of a host, on one port.

        Args:
            host: Name or address.
            port: 0 = any free port.

        Returns:
            The port.

        Raises:
            CannotListen: An address is taken, or none belongs to this machine.
        """
        problem: OSError | None = None
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
                try:
                    port = self._bind(family, (address[0], port, *address[2:]))
                except OSError as error:
                    # A name may have addresses that this machine lacks, such as IPv6 where it is disabled.
                    if error.errno not in _NOT_LOCAL:
                        raise
                    problem = error
            if not self._listeners and problem is not None:
                raise problem
        except OSError as error:
            for listener in self._listeners.values():
                listener.close()
            self._listeners.clear()
            raise cannot_listen(host, port) from error
        self._register()
        return port

    def _bind(self, family: int, address: tuple[Any, ...]) -> int:
        """Listen on one address. Returns the port."""
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # The wildcard address accepts both families, any other address only its own.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)  # noqa: FBT003  # its only argument
        except OSError:
            listener.close()
            raise
        self._listeners[listener.fileno()] = listener
        port: int = listener.getsockname()[1]
        return port

    def on_event(self, fd: int) -> None:
        """Accept waiting connections. Does nothing if ``fd`` is not a listening socket."""
        listener = self._listeners.get(fd)
        if listener is not None:
            for _ in range(_ACCEPTED_AT_ONCE):
                if not self._accept(listener):
                    return

    def patience_s(self, now_s: float) -> float:
        """Seconds that the thread may sleep before :meth:`see_clock`; infinity = without limit."""
        return math.inf if self._resume_s is None else max(0.0, self._resume_s - now_s)

    def see_clock(self, now_s: float) -> None:
        """Accept connections again if the pause is over."""
        if self._resume_s is not None and self._resume_s <= now_s:
            self._resume_s = None
            self._register()

    def close(self) -> None:
        """Close the listening sockets."""
        for fd, listener in self._listeners.items():
            if self._resume_s is None:
                self._epoll.unregister(fd)
            listener.close()
        self._resume_s = None
        self._listeners.clear()

    def _register(self) -> None:
        for fd in self._listeners:
            self._epoll.register(fd, select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a connection. Returns whether more may wait."""
        try:
            connected, _ = listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                return True  # The client has disconnected already.
            if self._resume_s is None:
                if self._log_limit.allow():
                    _LOG.warning(
                        "cannot take more connections for now; raise the limit of open files (ulimit -n)",
                        extra={"reason": str(error)},
                    )
                self._resume_s = time.monotonic() + _PAUSE_S
                for fd in self._listeners:
                    self._epoll.unregister(fd)
            return False
        try:
            connected.setblocking(False)  # noqa: FBT003  # its only argument
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._on_accepted(connected)
        except OSError:
            connected.close()
        return True


def peer_name(connected: socket.socket) -> str:
    """Address of the peer in gRPC's form, such as ``ipv4:127.0.0.1:53312``.

    Raises:
        OSError: The peer has disconnected already.
    """
    address = connected.getpeername()
    if connected.family == socket.AF_INET6:
        return f"ipv6:%5B{address[0]}%5D:{address[1]}"
    return f"ipv4:{address[0]}:{address[1]}"
