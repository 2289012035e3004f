"""A connected socket of the lane: reads, and writes with a buffer for what the socket does not accept at once."""

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

from sardonyx_server.rpc.lane.flow_control.outflow import LOW_WRITE_CREDIT_BYTES
from sardonyx_server.rpc.lane.sockets.loopback import disable_pacing
from sardonyx_wire.http2.errors import Http2ConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.rpc.lane.sockets.protocol_handler import ProtocolHandler

_LOG = logging.getLogger("sardonyx.lane")

__all__ = ["SocketTransport"]

_READ_BYTES: Final = 64 * 1024
# While a message of many frames arrives.
_LARGE_READ_BYTES: Final = 256 * 1024
# Output up to this size is joined and sent in one piece; larger output is written without a copy.
_JOINED_BYTES: Final = 128 * 1024
# Buffers in one write (IOV_MAX): with frames of 16 KiB some 8 MiB, more than a socket accepts.
_BUFFERS: Final = 1024
# Once this many bytes wait for the socket, we stop reading from it: the peer is not reading either.
_MAX_UNSENT_BYTES: Final = 4 << 20
# How long the peer has to close once everything is written: it may still be reading.
_LINGER_S: Final = 2.0
_READ: Final = select.EPOLLIN | select.EPOLLRDHUP


class SocketTransport:
    """A connected socket. Used on the lane's thread only.

    Args:
        connected: Non-blocking; closed with the transport.
        handler: Receives the bytes that are read, and has the output.
        epoll: Watches the socket.
        on_closed: Called once, when the socket is closed.
        on_write_closed: Called once, when the sending side is closed. Must have :meth:`expire` called at the deadline.

    Attributes:
        handler: As given.
        fd: File descriptor; -1 once it is closed.
        deadline_s: When :meth:`expire` is due, on ``time.monotonic``. Whoever sets it has to schedule the call.
    """

    __slots__ = (
        "__weakref__", "_epoll", "_events", "_on_closed", "_on_write_closed", "_paced", "_read_bytes", "_socket",
        "_unsent", "_unsent_bytes", "_write_closed", "deadline_s", "fd", "handler",
    )  # fmt: skip

    def __init__(
        self,
        connected: socket.socket,
        handler: ProtocolHandler,
        epoll: select.epoll,
        *,
        on_closed: Callable[[SocketTransport], None],
        on_write_closed: Callable[[SocketTransport], None],
    ) -> None:
        self._socket = connected
        self.handler = handler
        self._epoll = epoll
        self._on_closed = on_closed
        self._on_write_closed = on_write_closed
        self.deadline_s = math.inf
        self.fd = connected.fileno()
        self._read_bytes = _READ_BYTES
        self._unsent: list[bytes | memoryview] = []
        self._unsent_bytes = 0
        self._write_closed = False
        # Until the first output of more than _JOINED_BYTES.
        self._paced = True
        self._events = _READ
        epoll.register(self.fd, _READ)

    @property
    def is_writing(self) -> bool:
        """Whether bytes wait for the socket, or are blocked by the peer's flow control."""
        return bool(self._unsent or self.handler.outflow.blocked_bytes)

    @property
    def ended(self) -> bool:
        """Whether the socket is closed."""
        return self.fd < 0

    def expire(self) -> None:
        """Close the socket if the peer did not close in time, or did not send the preface of HTTP/2."""
        if self._write_closed or not self.handler.preface_received:
            self.close()

    def on_events(self, events: int) -> None:
        """Handle events of epoll."""
        if events & select.EPOLLOUT:
            self._write_unsent()
        if events & ~select.EPOLLOUT and self.fd >= 0:
            self._read()

    def flush(self) -> None:
        """Write the handler's output, as much as the socket accepts."""
        out = self.handler.outflow.out
        if self.fd < 0:
            out.clear()
            return
        if self._unsent:
            self._unsent.extend(out)
            self._unsent_bytes += sum(map(len, out))
            out.clear()
            self._update_events()
            return
        size = sum(map(len, out))
        if size > _JOINED_BYTES:
            if self._paced:
                self._paced = False
                disable_pacing(self._socket)
            self._unsent, out[:] = out[:], ()
            self._unsent_bytes = size
            self._write_unsent()
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
                self._unsent.append(memoryview(data)[sent:])
                self._unsent_bytes = size - sent
                self._write_unsent()
                return
        self._all_written()

    def close(self) -> None:
        """Close the socket now, and notify the handler."""
        if self.fd < 0:
            return
        with suppress(OSError):
            self._epoll.unregister(self.fd)
        self._on_closed(self)
        self.fd = -1
        self._socket.close()
        self._unsent.clear()
        self.handler.outflow.set_socket_bytes(0)
        self.handler.connection_lost()

    def close_if_finished(self) -> None:
        """Close the sending side if the handler is finished and everything is written."""
        if self.fd >= 0 and self.handler.finished and not self._unsent and not self.handler.outflow.out:
            self._close_write()

    def _read(self) -> None:
        handler = self.handler
        data = b""
        try:
            buffer = handler.receive_buffer
            if buffer is None:
                data = self._socket.recv(self._read_bytes)
                size = len(data)
                self._read_bytes = _LARGE_READ_BYTES if size >= _READ_BYTES else _READ_BYTES
            else:
                size = self._socket.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.close()
        elif not self._write_closed:
            try:
                if data:
                    handler.receive(data)
                else:
                    handler.buffer_updated(size)
            except Http2ConnectionError as error:
                handler.abort(error)
            except Exception:  # noqa: BLE001  # one connection must not end all others
                _LOG.exception("bug: a connection failed")
                self.close()

    def _write_unsent(self) -> None:
        """Write the unsent bytes, as many as the socket accepts."""
        unsent = self._unsent
        try:
            while unsent:
                sent = self._socket.sendmsg(unsent[:_BUFFERS])
                self._unsent_bytes -= sent
                if not self._unsent_bytes:
                    unsent.clear()
                    break
                _drop(unsent, sent)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._update_events()
        if not unsent and not self.handler.outflow.out:
            self._all_written()

    def _all_written(self) -> None:
        handler, outflow = self.handler, self.handler.outflow
        if outflow.output_bytes:
            outflow.set_socket_bytes(0)
        if outflow.write_credit < LOW_WRITE_CREDIT_BYTES:
            handler.written()
        if handler.finished and not outflow.out:
            self._close_write()

    def _update_events(self) -> None:
        events = _READ
        self.handler.outflow.set_socket_bytes(self._unsent_bytes)
        if self._unsent:
            # While the socket accepts nothing, data blocked by flow control effectively wait for it too.
            too_much = self._unsent_bytes + self.handler.outflow.blocked_bytes > _MAX_UNSENT_BYTES
            events = select.EPOLLOUT if too_much else _READ | select.EPOLLOUT
        if events != self._events:
            self._events = events
            self._epoll.modify(self.fd, events)

    def _close_write(self) -> None:
        """Close the sending side.

        Bytes that the peer still sends are read and dropped. If the socket were closed with unread bytes, the kernel
        would send a reset, and the peer could lose the last bytes that we sent.
        """
        if not self._write_closed:
            self._write_closed = True
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
            else:
                self.deadline_s = time.monotonic() + _LINGER_S
                self._on_write_closed(self)


def _drop(parts: list[bytes | memoryview], size: int) -> None:
    """Remove the first ``size`` bytes from the parts."""
    ends = list(accumulate(map(len, parts[:_BUFFERS])))
    gone = bisect_right(ends, size)
    begun = size - (ends[gone - 1] if gone else 0)
    del parts[:gone]
    if begun:
        parts[0] = memoryview(parts[0])[begun:]
