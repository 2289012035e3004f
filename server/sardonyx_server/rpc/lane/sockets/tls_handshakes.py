"""TLS handshakes, on a thread of their own: a signature takes as long as twenty calls, which must not wait for it.

The result of each handshake is reported on that thread: a socket with TLS, or an error.
"""

from __future__ import annotations

import logging
import os
import select
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.sockets.tls_socket import NotTls, TlsSocket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["TlsHandshakes"]

_LOG = logging.getLogger("sardonyx.lane")

# Interval between checks for handshakes whose deadline has passed.
_LOOK_S: Final = 5.0


class _Handshake:
    """The handshake of one connection.

    Args:
        connected: The accepted socket.
        deadline_s: When it is closed unless it is done, on ``time.monotonic``.

    Attributes:
        deadline_s: As given.
        events: Events of epoll that it waits for.
    """

    __slots__ = ("_connected", "_tls", "deadline_s", "events", "fd")

    def __init__(self, connected: socket.socket, deadline_s: float) -> None:
        self._connected = connected
        self._tls: TlsSocket | None = None
        self.deadline_s = deadline_s
        self.fd = connected.fileno()
        self.events = select.EPOLLIN

    def secured(self, context: Callable[[], ssl.SSLContext]) -> TlsSocket:
        """The socket with TLS. The first call makes it; it then owns the descriptor of the accepted socket."""
        if self._tls is None:
            self._tls = TlsSocket(self._connected, context())
        return self._tls

    def close(self) -> None:
        (self._tls or self._connected).close()


class TlsHandshakes:
    """The handshakes of one lane.

    Args:
        context: Called at the beginning of each handshake.
        patience_s: Time limit of each handshake, in seconds.
        on_done: Called with each socket whose handshake is done.
        on_failed: Called with each socket whose handshake failed, the error, and the TLS alert for the peer. Not called
            if the peer disconnected, or did not finish in time.
        on_lost: Called if the thread itself fails, which is a bug.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        patience_s: float,
        on_done: Callable[[TlsSocket], None],
        on_failed: Callable[[TlsSocket, NotTls | ssl.SSLError, bytes], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._context = context
        self._patience_s = patience_s
        self._on_done = on_done
        self._on_failed = on_failed
        self._on_lost = on_lost
        self._epoll = select.epoll()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._waker, select.EPOLLIN)
        # In the order in which they began, which is the order of their deadlines.
        self._by_fd: dict[int, _Handshake] = {}
        # Held where the dict is changed, or all of it is read.
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tls-handshakes", daemon=True)

    def start(self) -> None:
        """Start the thread. Call once."""
        self._thread.start()

    def begin(self, connected: socket.socket) -> None:
        """Begin the handshake of an accepted socket. Called on one other thread.

        Args:
            connected: Non-blocking.

        Raises:
            OSError: The user's limit of sockets watched by epoll is reached.
        """
        fd = connected.fileno()
        with self._lock:
            self._by_fd[fd] = _Handshake(connected, time.monotonic() + self._patience_s)
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except OSError:
            self._forget(fd)
            raise

    def close(self) -> None:
        """Close all unfinished handshakes. Does not block. Call on the thread of :meth:`begin`, after its last call."""
        if not self._closed:
            self._closed = True
            os.eventfd_write(self._waker, 1)

    def join(self) -> None:
        """Wait for the thread: no callback is called afterwards. Requires: closed, or about to be. Once; blocks."""
        self._thread.join()
        self._epoll.close()
        os.close(self._waker)

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the thread of TLS handshakes failed")
            self._on_lost(error)
        for handshake in self._under_way():
            handshake.close()

    def _serve(self) -> None:
        """Take the steps of all handshakes until closed."""
        look_s = min(_LOOK_S, self._patience_s)
        next_look_s = 0.0
        while not self._closed:
            for fd, _ in self._epoll.poll(look_s):
                handshake = self._by_fd.get(fd)
                if handshake is None:
                    continue
                try:
                    self._step(fd, handshake)
                except Exception:  # noqa: BLE001  # one connection must not end all others
                    _LOG.exception("bug: a handshake failed")
                    self._forget(fd)
                    handshake.close()
            # Not at each wakeup: it copies the list of all handshakes.
            if (now_s := time.monotonic()) >= next_look_s:
                next_look_s = now_s + look_s
                self._see_clock(now_s)

    def _see_clock(self, now_s: float) -> None:
        """Close handshakes whose deadline has passed."""
        for handshake in self._under_way():
            if now_s < handshake.deadline_s:
                break
            self._forget(handshake.fd)
            handshake.close()

    def _under_way(self) -> list[_Handshake]:
        """A copy, because begin() may add to the dict meanwhile."""
        with self._lock:
            return list(self._by_fd.values())

    def _step(self, fd: int, handshake: _Handshake) -> None:
        """Take the next step of one handshake."""
        tls = handshake.secured(self._context)
        try:
            tls.do_handshake()
        except BlockingIOError:
            events = select.EPOLLOUT if tls.must_write else select.EPOLLIN
            if events != handshake.events:
                handshake.events = events
                self._epoll.modify(fd, events)
        except (NotTls, ssl.SSLError) as error:
            self._forget(fd)
            self._on_failed(tls, error, tls.take_encrypted())
        except OSError:
            self._forget(fd)
            handshake.close()
        else:
            self._forget(fd)
            self._on_done(tls)

    def _forget(self, fd: int) -> None:
        # Without an error if it is forgotten already, as after a failure of what is called then.
        with self._lock:
            self._by_fd.pop(fd, None)
        with suppress(OSError):
            self._epoll.unregister(fd)
