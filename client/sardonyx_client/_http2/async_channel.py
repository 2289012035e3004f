"""The HTTP/2 channel for asyncio: one connection that multiplexes all calls, and retries. Counterpart of channel.py."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from sardonyx_client._http2.async_connection import AsyncConnection
from sardonyx_client._http2.endpoint import single_server_addresses
from sardonyx_client._http2.errors import Http2RpcError, client_closed, deadline_exceeded
from sardonyx_client._http2.request_headers import RequestHeaderEncoder
from sardonyx_client._http2.response_headers import HeaderDecoder
from sardonyx_client._http2.retry import RetryThrottle
from sardonyx_client._http2.sockets import HANDSHAKE_TIMEOUT_S, INET_FAMILIES, configure_socket, connect_error

if TYPE_CHECKING:
    from sardonyx_client._http2.endpoint import Address, Http2ChannelConfig
    from sardonyx_client._http2.request_headers import Metadata

__all__ = ["AsyncHttp2Channel"]


class AsyncHttp2Channel:
    """Calls one method of one server, in the event loop where it is first used.

    Args:
        config: The server, and how to reach it.
        path: Path of the method.
    """

    def __init__(self, config: Http2ChannelConfig, path: str) -> None:
        self._config = config
        self._header_encoder = RequestHeaderEncoder(config.endpoint.authority, path, config.max_message_bytes)
        self._header_decoder = HeaderDecoder()
        self._retry_throttle = RetryThrottle(config.retry)
        self._connection: AsyncConnection | None = None
        # Connections that take no new calls (GOAWAY) but still have calls in flight.
        self._draining: set[AsyncConnection] = set()
        self._connecting: asyncio.Task[AsyncConnection | OSError | None] | None = None
        self._closed = asyncio.Event()
        self._single_server = True

    async def close(self) -> None:
        """Close all connections; calls in flight fail."""
        self._closed.set()
        if self._connecting is not None:
            self._connecting.cancel()
        connections = [*self._draining, *([] if self._connection is None else [self._connection])]
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.gone

    async def call(self, message: bytes, timeout_s: float | None, metadata: Metadata) -> bytes | memoryview | None:
        """Make a call, with its retries. See ``Http2Channel.call``."""
        block = self._header_encoder.encode(timeout_s, metadata)
        if block is None or not self._header_encoder.fits(message):
            return None
        loop = asyncio.get_running_loop()
        deadline_s = None if timeout_s is None else loop.time() + timeout_s
        retry_state = None
        while True:
            try:
                if timeout_s is not None and timeout_s <= 0:
                    raise deadline_exceeded()
                connection = self._connection
                if connection is None or connection.draining:
                    connection = await self._wait_connected(deadline_s)
                if connection is None or not connection.usable:
                    return None  # several servers, or the connection is at its limit of concurrent streams
                answer = await connection.call(block, message, deadline_s)
            except Http2RpcError as failure:
                retry_state = retry_state or self._retry_throttle.new_call(no_deadline=deadline_s is None)
                backoff_s = None if self._closed.is_set() else retry_state.next_backoff_s(failure)
                if backoff_s is None:
                    raise
            else:
                self._retry_throttle.record_success()
                return answer
            timeout_s = await self._back_off(backoff_s, deadline_s)
            block = (
                self._header_encoder.encode(timeout_s, metadata, attempts_before=retry_state.failed_attempts) or block
            )

    async def _back_off(self, backoff_s: float, deadline_s: float | None) -> float | None:
        """Wait before the next attempt; returns the remaining timeout."""
        loop = asyncio.get_running_loop()
        remaining_s = backoff_s if deadline_s is None else deadline_s - loop.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), max(0.0, min(backoff_s, remaining_s)))
        return None if deadline_s is None else deadline_s - loop.time()

    async def _wait_connected(self, deadline_s: float | None) -> AsyncConnection | None:
        """A new connection, which all callers that wait for one share; None = grpcio's channel must make the call."""
        if not self._single_server:
            return None
        if self._closed.is_set():
            raise client_closed()
        loop = asyncio.get_running_loop()
        task = self._connecting
        if task is None or task.done():
            task = self._connecting = loop.create_task(self._connect())
        remaining_s = None if deadline_s is None else deadline_s - loop.time()
        done, _ = await asyncio.wait({task}, timeout=remaining_s)
        if not done:
            raise deadline_exceeded()
        authority = self._config.endpoint.authority
        if task.cancelled():
            raise client_closed()
        found = task.result()
        if isinstance(found, OSError):
            raise connect_error(authority, found)
        return found

    async def _connect(self) -> AsyncConnection | OSError | None:
        """Runs in its own task. Returns errors, because each waiting caller raises one of its own."""
        endpoint = self._config.endpoint
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                addresses = await self._resolve()
                if addresses is None:
                    self._single_server = False
                    return None
                last_error: OSError = ConnectionRefusedError("it has no address")
                for address in addresses:
                    try:
                        self._make_current(await self._open_connection(address))
                    except OSError as error:
                        last_error = error
                    else:
                        return self._connection
                return last_error
        except TimeoutError:
            return TimeoutError(f"{endpoint.authority} does not answer")
        except (OSError, UnicodeError) as error:
            return error if isinstance(error, OSError) else OSError(str(error))

    async def _resolve(self) -> list[Address] | None:
        """Addresses of the server, resolved for each new connection; None = there are several servers."""
        endpoint = self._config.endpoint
        if endpoint.path:
            return [(socket.AF_UNIX, endpoint.path)]
        loop = asyncio.get_running_loop()
        return single_server_addresses(await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))

    async def _open_connection(self, address: Address) -> AsyncConnection:
        """A connection whose server has sent its SETTINGS, so it speaks HTTP/2."""
        loop = asyncio.get_running_loop()
        raw = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            raw.setblocking(False)  # noqa: FBT003  # its only argument
            await loop.sock_connect(raw, address[1])
            configure_socket(raw, self._config.keepalive_s)
            connection = AsyncConnection(self._header_decoder, self._config.max_message_bytes)
            if address[0] in INET_FAMILIES:
                await loop.create_connection(lambda: connection, sock=raw)
            else:
                await loop.create_unix_connection(lambda: connection, sock=raw)
        except BaseException:
            raw.close()
            raise
        try:
            await connection.ready
        except BaseException:
            connection.close()
            raise
        if not connection.usable:
            connection.close()
            raise ConnectionAbortedError(connection.reason)
        return connection

    def _make_current(self, connection: AsyncConnection) -> None:
        """Use this connection for new calls; the previous one drains."""
        before = self._connection
        if before is not None and not before.gone.done():
            self._draining.add(before)
            before.gone.add_done_callback(lambda _: self._draining.discard(before))
        self._connection = connection
