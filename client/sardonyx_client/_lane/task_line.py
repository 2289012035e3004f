"""An asyncio connection and the HTTP/2 on it: any number of calls at once, each a stream. See line.py for its twin."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sardonyx_client._lane.connection import Connection
from sardonyx_client._lane.failure import deadline_exceeded
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import goaway

if TYPE_CHECKING:
    from sardonyx_client._lane.fields import FieldReader
    from sardonyx_client._lane.stream import Stream

__all__ = ["TaskLine"]

# Of requests that wait to be sent, some four each. With all of 16 calls in one, caller and server took turns: 21,700
# calls a second in place of 31,800 (2026-11-26).
_TOGETHER_PARTS: Final = 32
_CLOSED: Final = "the connection was closed"


class TaskLine(asyncio.BufferedProtocol):
    """Belongs to the event loop that runs when it is made.

    Args:
        reader: Of header blocks; may be shared.
        max_message_bytes: Most to accept of an answer.

    Attributes:
        ready: Done when the server has said that it speaks HTTP/2, or when the connection is gone.
        gone: Done when it is gone.
    """

    def __init__(self, reader: FieldReader, max_message_bytes: int | None) -> None:
        self._http = Connection(reader, max_message_bytes)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        # The system takes no more for now.
        self._paused = False
        self._reason = "the connection was lost"
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    @property
    def usable(self) -> bool:
        """Whether a call may begin on it."""
        return self._http.usable

    @property
    def draining(self) -> bool:
        """Whether it takes no more calls, and never will."""
        return self._http.draining

    @property
    def reason(self) -> str:
        """Why it is gone."""
        return self._reason

    async def call(self, block: bytes, message: bytes, deadline_s: float | None) -> bytes | memoryview:
        """One attempt. Requires: :attr:`usable`.

        Args:
            block: Header of the request.
            message: Of the request.
            deadline_s: On the event loop's clock; None = no limit.

        Raises:
            LaneFailure: It failed.
        """
        http, loop = self._http, self._loop
        stream = http.open(block, message)
        ended: asyncio.Future[None] = loop.create_future()
        answer = stream.answer
        answer.on_end = partial(_set, ended)
        # A single call goes at once. Several that begin in one turn of the loop go together, one system call for all.
        # Of many some go before the others: the server works on them meanwhile.
        if http.streams == 1 or len(http.out) >= _TOGETHER_PARTS:
            self._flush()
        else:
            self._flush_soon()
        timer = None if deadline_s is None else loop.call_at(deadline_s, self._time_out, stream)
        try:
            await ended
        except asyncio.CancelledError:
            # At once: the loop may not turn again for long, and the server should not work in vain.
            http.cancel(stream)
            self._flush()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return answer.message()

    def close(self, reason: str = _CLOSED) -> None:
        """End all calls on it, and disconnect."""
        self._lose(reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._lose(f"the connection was lost: {exc or 'the server closed it'}")
        _set(self.gone)

    def pause_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._paused = False
        if self._http.written():
            self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the connection knows better
        """See :class:`asyncio.BufferedProtocol`."""
        return self._http.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        http = self._http
        try:
            http.received(nbytes)
        except Http2ConnectionError as error:
            http.out.append(goaway(error.code))
            self._flush()
            self.close(str(error))
            return
        if http.out:
            self._flush_soon()
        if http.ready:
            _set(self.ready)
        if http.draining and not http.streams and self._transport is not None:
            self._transport.close()

    def _lose(self, reason: str) -> None:
        if not self._http.draining or self._http.streams:
            self._reason = reason
        self._http.lost(reason)
        _set(self.ready)

    def _time_out(self, stream: Stream) -> None:
        self._http.cancel(stream)
        stream.answer.fail(deadline_exceeded())
        self._flush()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        http, transport = self._http, self._transport
        parts = http.take()
        while parts and transport is not None and not transport.is_closing():
            transport.writelines(parts)
            parts = http.take() if not self._paused and http.written() else []


def _set(done: asyncio.Future[None]) -> None:
    """Whoever waits for it goes on; nothing where he has been cancelled."""
    if not done.done():
        done.set_result(None)
