"""A socket and the HTTP/2 on it, for a thread that blocks. One thread has a line at a time, for one call."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client._lane.connection import Connection
from sardonyx_client._lane.failure import LaneFailure, deadline_exceeded
from sardonyx_client._lane.sockets import hand_over, tune
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode, goaway, rst_stream

if TYPE_CHECKING:
    from sardonyx_client._lane.fields import FieldReader
    from sardonyx_client._lane.stream import Stream

__all__ = ["Line"]

# Sockets do not take any number of seconds.
_LONGEST_WAIT_S: Final = 1e6
_SHORTEST_WAIT_S: Final = 1e-3


class Line:
    """Connects at once. Not thread-safe but for :meth:`interrupt`.

    Args:
        family: Of the address.
        reader: Of header blocks; may be shared.
        max_message_bytes: Most to accept of an answer.
        keepalive_s: See ``sockets.py``.

    Attributes:
        used_s: When the last call on it ended, on ``time.monotonic``.
    """

    __slots__ = (
        "_broken", "_closing", "_delivered", "_http", "_keepalive_s", "_sending", "_socket", "_timeout_s", "used_s",
    )  # fmt: skip

    def __init__(
        self, family: int, reader: FieldReader, *, max_message_bytes: int | None, keepalive_s: float | None
    ) -> None:
        self._http = Connection(reader, max_message_bytes)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._keepalive_s = keepalive_s
        # An interrupt must not meet the number of a descriptor that was closed, and is another's by then.
        self._closing = threading.Lock()
        # What the socket is set to; nothing that it could be set to at first.
        self._timeout_s: float | None = -1.0
        self._sending = False
        self._delivered = False
        self._broken = False
        self.used_s = 0.0

    @property
    def reusable(self) -> bool:
        """Whether a call may begin on it."""
        return not self._broken and self._http.usable and not self._http.streams

    def connect(self, address: Any, until_s: float) -> None:
        """Connect, and wait until the server has said that it speaks HTTP/2. Blocks.

        Raises:
            OSError: It is not there, does not speak HTTP/2, or does not speak until then.
        """
        self._wait_at_most(until_s - time.monotonic())
        self._socket.connect(address)
        tune(self._socket, self._keepalive_s)
        self._send()
        while not self._http.ready:
            self._wait_at_most(until_s - time.monotonic())
            try:
                self._receive()
            except Http2ConnectionError as error:
                raise ConnectionAbortedError(str(error)) from error
        if not self._http.usable:
            raise ConnectionAbortedError("the server takes no calls on it")
        self._send()

    def still_open(self) -> bool:
        """Look at what the server said since the last call, such as goodbye. Does not block."""
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
        """One attempt. Blocks. Requires: :attr:`reusable`.

        Args:
            block: Header of the request.
            message: Of the request.
            timeout_s: Left of the call's time; None = no limit.
            deadline_s: The same on ``time.monotonic``.

        Raises:
            LaneFailure: It failed.
        """
        http = self._http
        stream = http.open(block, message)
        answer = stream.answer
        try:
            if timeout_s != self._timeout_s:
                self._wait_at_most(timeout_s)
            self._delivered = False
            self._send(deadline_s)
            self._delivered = stream.sent
            self._receive()
            while not answer.ended:
                if http.out:
                    self._send(deadline_s)
                    self._delivered = stream.sent
                if deadline_s is not None:
                    self._wait_at_most(deadline_s - time.monotonic())
                self._receive()
        except (OSError, Http2ConnectionError) as error:
            if not answer.ended:
                raise self._failure(error, stream, deadline_s) from error
            self._broken = True
        except BaseException:
            # Such as a keyboard interrupt.
            self._give_up(rst_stream(stream.id, ErrorCode.CANCEL))
            raise
        self.used_s = time.monotonic()
        if http.out and not self._broken:
            self._acknowledge()
        return answer.message()

    def interrupt(self) -> None:
        """Wake the thread that blocks on it, with an error. From any thread."""
        # It may not be connected, or be closed meanwhile.
        with self._closing, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Requires: no thread is in a call on it."""
        self._broken = True
        with self._closing:
            self._socket.close()

    def _wait_at_most(self, timeout_s: float | None) -> None:
        """For the next system calls. Raises TimeoutError where no time is left."""
        if timeout_s is not None:
            if timeout_s <= 0:
                raise TimeoutError("no time is left")
            self._socket.settimeout(min(max(timeout_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
        else:
            self._socket.settimeout(None)
        self._timeout_s = timeout_s

    def _receive(self) -> None:
        size = self._socket.recv_into(self._http.buffer)
        if not size:
            raise ConnectionResetError("the server closed it")
        self._http.received(size)

    def _send(self, deadline_s: float | None = None) -> None:
        http = self._http
        parts = http.take()
        if not parts:
            return
        self._sending, again = True, False
        while parts:
            parts = hand_over(self._socket, parts)
            if not parts and http.written():
                parts = http.take()
            if deadline_s is not None and (parts or again):
                # A server that takes a little now and then gets no more time for that, nor for its answer.
                self._wait_at_most(deadline_s - time.monotonic())
                again = True
        self._sending = False

    def _acknowledge(self) -> None:
        """Say what is left to say after an answer, which nothing that happens here takes back."""
        try:
            self._send()
        except OSError:
            self._broken = True

    def _failure(self, error: Exception, stream: Stream, deadline_s: float | None) -> LaneFailure:
        """What a connection that failed means for the call on it."""
        if isinstance(error, TimeoutError) and deadline_s is not None and time.monotonic() >= deadline_s:
            self._give_up(rst_stream(stream.id, ErrorCode.CANCEL))
            return deadline_exceeded()
        self._give_up(goaway(error.code) if isinstance(error, Http2ConnectionError) else b"")
        # Of a request that was not sent to its end the server has no use: it has no message.
        return stream.answer.lost(f"the connection was lost: {error}", unprocessed=not self._delivered)

    def _give_up(self, last: bytes) -> None:
        """Say a last word, if that is possible at once. The connection is of no more use."""
        self._broken = True
        if self._sending or not last:
            return
        # Where it cannot be said, closing says the same.
        with suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(last)
