"""The HTTP/2 channel for threads: a connection pool, and retries.

Each call has a connection of its own while it lasts, and blocks on its socket. Nothing passes from one thread to
another, so a call costs two system calls and the Python around them. Idle connections wait on a stack (LIFO) that needs
no lock.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_client._http2.blocking_connection import BlockingConnection
from sardonyx_client._http2.endpoint import single_server_addresses
from sardonyx_client._http2.errors import Http2RpcError, client_closed, deadline_exceeded
from sardonyx_client._http2.request_headers import RequestHeaderEncoder
from sardonyx_client._http2.response_headers import HeaderDecoder
from sardonyx_client._http2.retry import RetryThrottle
from sardonyx_client._http2.sockets import HANDSHAKE_TIMEOUT_S, connect_error

if TYPE_CHECKING:
    from sardonyx_client._http2.endpoint import Address, Http2ChannelConfig
    from sardonyx_client._http2.request_headers import Metadata

__all__ = ["Http2Channel"]

# Each connection costs the server some ten kilobytes. Calls beyond this go through grpcio's channel, which multiplexes.
_MAX_CONNECTIONS: Final = 64
# A connection that has been idle for longer is closed when some call ends.
_MAX_IDLE_S: Final = 60.0
# A connection that was used this recently is not checked before it is reused: if it is closed, the call will find out.
_SKIP_CHECK_S: Final = 0.05


class Http2Channel:
    """Calls one method of one server. Thread-safe.

    Args:
        config: The server, and how to reach it.
        path: Path of the method.
    """

    def __init__(self, config: Http2ChannelConfig, path: str) -> None:
        self._idle: deque[BlockingConnection] = deque()
        self._connections: set[BlockingConnection] = set()
        self._config = config
        self._header_encoder = RequestHeaderEncoder(config.endpoint.authority, path, config.max_message_bytes)
        self._header_decoder = HeaderDecoder()
        self._retry_throttle = RetryThrottle(config.retry)
        self._closed = threading.Event()
        self._single_server = True

    def __del__(self) -> None:
        # The client was not closed: close its sockets without a ResourceWarning, as grpcio's channel does.
        for connection in self._connections:
            connection.close()

    def close(self) -> None:
        """Close all connections; calls in flight fail. Any thread may call it, in the process that made the channel."""
        self._closed.set()
        while self._idle:
            try:
                self._discard(self._idle.pop())
            except IndexError:
                break
        for connection in list(self._connections):
            connection.interrupt()

    def call(self, message: bytes, timeout_s: float | None, metadata: Metadata) -> bytes | memoryview | None:
        """Make a call, with its retries. Blocks.

        Returns:
            The message of the response; None = nothing was sent, and grpcio's channel must make this call.

        Raises:
            Http2RpcError: The call failed.
        """
        block = self._header_encoder.encode(timeout_s, metadata)
        if block is None or not self._header_encoder.fits(message):
            return None
        now_s = time.monotonic()
        deadline_s = None if timeout_s is None else now_s + timeout_s
        retry_state = None
        while True:
            connection = None
            try:
                connection = self._acquire(now_s, deadline_s, skip_check=retry_state is None)
                if connection is None:
                    return None
                answer = connection.call(block, message, timeout_s, deadline_s)
            except Http2RpcError as failure:
                retry_state = retry_state or self._retry_throttle.new_call(no_deadline=deadline_s is None)
                backoff_s = None if self._closed.is_set() else retry_state.next_backoff_s(failure)
                if backoff_s is None:
                    raise
            else:
                self._retry_throttle.record_success()
                return answer
            finally:
                if connection is not None:
                    self._release(connection)
            now_s, timeout_s = self._back_off(backoff_s, deadline_s)
            block = (
                self._header_encoder.encode(timeout_s, metadata, attempts_before=retry_state.failed_attempts) or block
            )

    def _back_off(self, backoff_s: float, deadline_s: float | None) -> tuple[float, float | None]:
        """Wait before the next attempt. Returns (time.monotonic() afterwards, remaining timeout)."""
        remaining_s = backoff_s if deadline_s is None else deadline_s - time.monotonic()
        self._closed.wait(max(0.0, min(backoff_s, remaining_s)))
        now_s = time.monotonic()
        return now_s, None if deadline_s is None else deadline_s - now_s

    def _acquire(self, now_s: float, deadline_s: float | None, *, skip_check: bool) -> BlockingConnection | None:
        """An idle connection or a new one; None = grpcio's channel must make the call.

        ``skip_check``: use a fresh connection unchecked. Not after a failed attempt: then the others may be dead too.
        """
        if deadline_s is not None and now_s >= deadline_s:
            raise deadline_exceeded()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break  # another thread took the last one
            if (skip_check and now_s - connection.last_used_s < _SKIP_CHECK_S) or connection.check_open():
                return connection
            self._discard(connection)
        if len(self._connections) >= _MAX_CONNECTIONS or not self._single_server:
            return None
        return self._connect(now_s, deadline_s)

    def _connect(self, now_s: float, deadline_s: float | None) -> BlockingConnection | None:
        """A new connection; None = the name resolves to several servers."""
        if self._closed.is_set():
            raise client_closed()
        endpoint = self._config.endpoint
        try:
            addresses = self._resolve()
            if addresses is None:
                self._single_server = False
                return None
            last_error: OSError = ConnectionRefusedError("it has no address")
            handshake_deadline_s = (
                now_s + HANDSHAKE_TIMEOUT_S if deadline_s is None else min(deadline_s, now_s + HANDSHAKE_TIMEOUT_S)
            )
            for address in addresses:
                try:
                    return self._open_connection(address, handshake_deadline_s)
                except OSError as error:
                    last_error = error
            raise last_error
        except OSError as error:
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise deadline_exceeded() from error
            raise connect_error(endpoint.authority, error) from error

    def _open_connection(self, address: Address, handshake_deadline_s: float) -> BlockingConnection:
        connection = BlockingConnection(
            address[0],
            self._header_decoder,
            max_message_bytes=self._config.max_message_bytes,
            keepalive_s=self._config.keepalive_s,
        )
        self._connections.add(connection)
        try:
            connection.connect(address[1], handshake_deadline_s)
        except BaseException:
            self._discard(connection)
            raise
        if self._closed.is_set():
            connection.interrupt()
        return connection

    def _resolve(self) -> list[Address] | None:
        """Addresses of the server, resolved for each new connection; None = there are several servers."""
        endpoint = self._config.endpoint
        if endpoint.path:
            return [(socket.AF_UNIX, endpoint.path)]
        try:
            return single_server_addresses(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except UnicodeError as error:
            raise OSError(str(error)) from error

    def _release(self, connection: BlockingConnection) -> None:
        if not connection.reusable:
            self._discard(connection)
            return
        self._idle.append(connection)
        if self._closed.is_set():
            self.close()
            return
        try:
            oldest = self._idle[0]
            if connection.last_used_s - oldest.last_used_s <= _MAX_IDLE_S:
                return
            self._idle.remove(oldest)
        except (IndexError, ValueError):
            return  # another thread took it
        self._discard(oldest)

    def _discard(self, connection: BlockingConnection) -> None:
        self._connections.discard(connection)
        connection.close()
