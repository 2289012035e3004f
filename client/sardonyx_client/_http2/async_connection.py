"""An HTTP/2 connection on an asyncio transport: any number of concurrent calls. See blocking_connection.py."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sardonyx_client._http2.connection import Http2Connection
from sardonyx_client._http2.errors import deadline_exceeded
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import goaway

if TYPE_CHECKING:
    from sardonyx_client._http2.response_headers import HeaderDecoder
    from sardonyx_client._http2.stream import Stream

__all__ = ["AsyncConnection"]

# Buffered parts at which requests are written without waiting for the end of the loop's iteration; a request has some
# four. With all of 16 calls in one write, client and server worked alternately: 21,700 calls a second instead of 31,800
# (2026-11-26).
_FLUSH_PARTS: Final = 32
_CLOSED: Final = "the connection was closed"


class AsyncConnection(asyncio.BufferedProtocol):
    """A connection of the event loop that is running when it is created.

    Args:
        header_decoder: Decodes header blocks. Connections may share one.
        max_message_bytes: Largest response message accepted; None = no limit.

    Attributes:
        ready: Done when the server has sent its SETTINGS, or when the connection is lost.
        gone: Done when the connection is lost.
    """

    def __init__(self, header_decoder: HeaderDecoder, max_message_bytes: int | None) -> None:
        self._http = Http2Connection(header_decoder, max_message_bytes)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        # The transport's write buffer is full.
        self._paused = False
        self._reason = "the connection was lost"
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    @property
    def usable(self) -> bool:
        """Whether a new call may start."""
        return self._http.usable

    @property
    def draining(self) -> bool:
        """Whether it takes no new calls, now and later."""
        return self._http.draining

    @property
    def reason(self) -> str:
        """Why the connection was lost."""
        return self._reason

    async def call(self, block: bytes, message: bytes, deadline_s: float | None) -> bytes | memoryview:
        """Make one attempt of a call. Requires: :attr:`usable`.

        Args:
            block: Header block of the request.
            message: Message of the request.
            deadline_s: On the event loop's clock; None = no limit.

        Raises:
            Http2RpcError: The attempt failed.
        """
        http, loop = self._http, self._loop
        stream = http.open_stream(block, message)
        ended: asyncio.Future[None] = loop.create_future()
        response = stream.response
        response.on_end = partial(_resolve, ended)
        # A single call is written at once. Calls that start in the same iteration of the loop share one system call;
        # of many, a part is written early, so that the server can work on it meanwhile.
        if http.open_streams == 1 or len(http.outbox) >= _FLUSH_PARTS:
            self._flush()
        else:
            self._flush_soon()
        timer = None if deadline_s is None else loop.call_at(deadline_s, self._time_out, stream)
        try:
            await ended
        except asyncio.CancelledError:
            # Now, not at the end of the iteration: the loop may be busy for long, and the server should stop working.
            http.cancel_stream(stream)
            self._flush()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return response.message()

    def close(self, reason: str = _CLOSED) -> None:
        """Fail all calls, and close the connection."""
        self._fail_calls(reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._fail_calls(f"the connection was lost: {exc or 'the server closed it'}")
        _resolve(self.gone)

    def pause_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._paused = False
        if self._http.data_sent():
            self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the connection knows better
        """See :class:`asyncio.BufferedProtocol`."""
        return self._http.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        http = self._http
        try:
            http.buffer_updated(nbytes)
        except Http2ConnectionError as error:
            http.outbox.append(goaway(error.code))
            self._flush()
            self.close(str(error))
            return
        if http.outbox:
            self._flush_soon()
        if http.ready:
            _resolve(self.ready)
        if http.draining and not http.open_streams and self._transport is not None:
            self._transport.close()

    def _fail_calls(self, reason: str) -> None:
        if not self._http.draining or self._http.open_streams:
            self._reason = reason
        self._http.connection_lost(reason)
        _resolve(self.ready)

    def _time_out(self, stream: Stream) -> None:
        self._http.cancel_stream(stream)
        stream.response.fail(deadline_exceeded())
        self._flush()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        http, transport = self._http, self._transport
        parts = http.data_to_send()
        while parts and transport is not None and not transport.is_closing():
            transport.writelines(parts)
            parts = http.data_to_send() if not self._paused and http.data_sent() else []


def _resolve(done: asyncio.Future[None]) -> None:
    """Complete a future, unless it is done or cancelled."""
    if not done.done():
        done.set_result(None)
