"""An HTTP/2 connection on a blocking socket. One thread uses it at a time, for one call."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client._http2.connection import Http2Connection
from sardonyx_client._http2.errors import Http2RpcError, deadline_exceeded
from sardonyx_client._http2.sockets import configure_socket, send_parts
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode, goaway, rst_stream

if TYPE_CHECKING:
    from sardonyx_client._http2.response_headers import HeaderDecoder
    from sardonyx_client._http2.stream import Stream

__all__ = ["BlockingConnection"]

# Bounds of what socket.settimeout accepts as a useful timeout.
_MAX_TIMEOUT_S: Final = 1e6
_MIN_TIMEOUT_S: Final = 1e-3


class BlockingConnection:
    """A connection and its socket. Not thread-safe, except for :meth:`interrupt`.

    Args:
        family: Address family.
        header_decoder: Decodes header blocks. Connections may share one.
        max_message_bytes: Largest response message accepted; None = no limit.
        keepalive_s: See ``sockets.py``.

    Attributes:
        last_used_s: When its last call ended, on ``time.monotonic``.
    """

    __slots__ = (
        "_broken", "_closing", "_delivered", "_http", "_keepalive_s", "_sending", "_socket", "_timeout_s",
        "last_used_s",
    )  # fmt: skip

    def __init__(
        self, family: int, header_decoder: HeaderDecoder, *, max_message_bytes: int | None, keepalive_s: float | None
    ) -> None:
        self._http = Http2Connection(header_decoder, max_message_bytes)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._keepalive_s = keepalive_s
        # Without it an interrupt could shut down a descriptor that was closed and reused meanwhile.
        self._closing = threading.Lock()
        # The socket's current timeout; -1 = not set yet, which equals no real timeout.
        self._timeout_s: float | None = -1.0
        self._sending = False
        self._delivered = False
        self._broken = False
        self.last_used_s = 0.0

    @property
    def reusable(self) -> bool:
        """Whether another call may use it."""
        return not self._broken and self._http.usable and not self._http.open_streams

    def connect(self, address: Any, deadline_s: float) -> None:
        """Connect, and wait for the server's SETTINGS. Blocks.

        Args:
            address: As sockets take it.
            deadline_s: On ``time.monotonic``.

        Raises:
            OSError: The server is unreachable, does not speak HTTP/2, or has sent no SETTINGS by the deadline.
        """
        self._set_timeout(deadline_s - time.monotonic())
        self._socket.connect(address)
        configure_socket(self._socket, self._keepalive_s)
        self._send()
        while not self._http.ready:
            self._set_timeout(deadline_s - time.monotonic())
            try:
                self._receive()
            except Http2ConnectionError as error:
                raise ConnectionAbortedError(str(error)) from error
        if not self._http.usable:
            raise ConnectionAbortedError("the server takes no calls on it")
        self._send()

    def check_open(self) -> bool:
        """Read what the server has sent since the last call, such as GOAWAY; returns :attr:`reusable`. Never blocks."""
        try:
            self._socket.settimeout(0)
            self._timeout_s = 0.0
            self._receive()
        except BlockingIOError:
            pass
        except (OSError, Http2ConnectionError):
            self._broken = True
        return self.reusable

    def call(
        self, block: bytes, message: bytes, timeout_s: float | None, deadline_s: float | None
    ) -> bytes | memoryview:
        """Make one attempt of a call. Blocks. Requires: :attr:`reusable`.

        Args:
            block: Header block of the request.
            message: Message of the request.
            timeout_s: Remaining timeout; None = no limit.
            deadline_s: The same as a time on ``time.monotonic``.

        Raises:
            Http2RpcError: The attempt failed.
        """
        http = self._http
        stream = http.open_stream(block, message)
        response = stream.response
        try:
            if timeout_s != self._timeout_s:
                self._set_timeout(timeout_s)
            self._delivered = False
            self._send(deadline_s)
            self._delivered = stream.sent
            self._receive()
            while not response.ended:
                if http.outbox:
                    self._send(deadline_s)
                    self._delivered = stream.sent
                if deadline_s is not None:
                    self._set_timeout(deadline_s - time.monotonic())
                self._receive()
        except (OSError, Http2ConnectionError) as error:
            if not response.ended:
                raise self._failure(error, stream, deadline_s) from error
            self._broken = True
        except BaseException:
            # For example KeyboardInterrupt.
            self._abandon(rst_stream(stream.id, ErrorCode.CANCEL))
            raise
        self.last_used_s = time.monotonic()
        if http.outbox and not self._broken:
            self._send_trailing()
        return response.message()

    def interrupt(self) -> None:
        """Make the thread that is blocked in a call fail. Any thread may call it."""
        # The socket may not be connected yet, or already closed.
        with self._closing, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket. Requires: no thread is in a call on it."""
        self._broken = True
        with self._closing:
            self._socket.close()

    def _set_timeout(self, timeout_s: float | None) -> None:
        """Set the timeout of the next system calls. Raises TimeoutError if no time is left."""
        if timeout_s is not None:
            if timeout_s <= 0:
                raise TimeoutError("no time is left")
            self._socket.settimeout(min(max(timeout_s, _MIN_TIMEOUT_S), _MAX_TIMEOUT_S))
        else:
            self._socket.settimeout(None)
        self._timeout_s = timeout_s

    def _receive(self) -> None:
        size = self._socket.recv_into(self._http.buffer)
        if not size:
            raise ConnectionResetError("the server closed it")
        self._http.buffer_updated(size)

    def _send(self, deadline_s: float | None = None) -> None:
        http = self._http
        parts = http.data_to_send()
        if not parts:
            return
        self._sending, again = True, False
        while parts:
            parts = send_parts(self._socket, parts)
            if not parts and http.data_sent():
                parts = http.data_to_send()
            if deadline_s is not None and (parts or again):
                # The timeout restarts with each send: lower it, so that a slow reader cannot extend the deadline.
                self._set_timeout(deadline_s - time.monotonic())
                again = True
        self._sending = False

    def _send_trailing(self) -> None:
        """Send what is queued after a response, such as a window update. An error does not fail the call."""
        try:
            self._send()
        except OSError:
            self._broken = True

    def _failure(self, error: Exception, stream: Stream, deadline_s: float | None) -> Http2RpcError:
        """The error of the call whose connection failed."""
        if isinstance(error, TimeoutError) and deadline_s is not None and time.monotonic() >= deadline_s:
            self._abandon(rst_stream(stream.id, ErrorCode.CANCEL))
            return deadline_exceeded()
        self._abandon(goaway(error.code) if isinstance(error, Http2ConnectionError) else b"")
        # The server cannot process a request whose message is incomplete.
        return stream.response.connection_lost(f"the connection was lost: {error}", unprocessed=not self._delivered)

    def _abandon(self, last: bytes) -> None:
        """Send a last frame if that does not block. The connection is not used again."""
        self._broken = True
        if self._sending or not last:
            return
        # If it cannot be sent, closing tells the server the same.
        with suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(last)
