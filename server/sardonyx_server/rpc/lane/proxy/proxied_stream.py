"""One stream that is forwarded to the grpcio server: the direction from the client. See upstream_connection.py."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.flow_control.inflow import MAX_STREAM_WINDOW_BYTES
from sardonyx_server.rpc.lane.flow_control.outflow import SendQueue
from sardonyx_server.rpc.lane.messages.receive_timeouts import patience_s, receive_timeout_error
from sardonyx_wire.http2.constants import END_STREAM
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode, FrameType, frame, rst_stream, window_update

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.proxy.connection_proxy import ConnectionProxy
    from sardonyx_server.rpc.lane.proxy.upstream_connection import UpstreamConnection

__all__ = ["ProxiedStream"]

# Bytes of the client's stream window that are consumed before WINDOW_UPDATE returns them.
_RETURNED_BYTES: Final = 1 << 16
# Buffers that may wait for the grpcio server before they are joined: as an object, one byte takes two hundred.
_MAX_BUFFERS: Final = 256


class ProxiedStream:
    """A stream of a client that is forwarded.

    Args:
        stream_id: The stream id, which is the same on both sides.
        upstream: The upstream connection that carries it.
        proxy: The client's side.
        request_ended: The client's header had END_STREAM.

    Attributes:
        deadline_s: When :meth:`expire` is due, on ``time.monotonic``: some time after data last arrived.
        id: As given.
        headers_sent:The grpcio server has sent response headers.
        queue: Data on the way to the grpcio server.
        request_ended: The client has sent END_STREAM.
        response_ended: The grpcio server has sent END_STREAM.
        buffered_bytes: Bytes that the grpcio server does not accept yet.
    """

    __slots__ = (
        "__weakref__", "_over", "_proxy", "_upstream", "_used", "buffered_bytes", "deadline_s", "headers_sent", "id",
        "queue", "request_ended", "response_ended",
    )  # fmt: skip

    receive_buffer = None
    window_delta = 0
    """Constant: the grpcio server itself observes the client's window."""

    def __init__(
        self, stream_id: int, upstream: UpstreamConnection, proxy: ConnectionProxy, *, request_ended: bool
    ) -> None:
        self.id = stream_id
        self._upstream = upstream
        self._proxy = proxy
        self._over = self.headers_sent = self.response_ended = False
        self.request_ended = request_ended
        self.buffered_bytes = 0
        # Bytes that were forwarded and not yet returned to the client by WINDOW_UPDATE.
        self._used = 0
        self.queue = SendQueue(stream_id, upstream.outflow.initial_window, paced=True, on_sent=self._sent)
        self.deadline_s = math.inf
        if not request_ended:
            # Each request that is being received holds a thread of the grpcio server, of which there are few: 64
            # clients that stalled in the middle of a request left all health checks unanswered.
            self._restart_timeout()
            proxy.watch(self)

    @property
    def ended(self) -> bool:
        """Whether the receive timeout no longer applies."""
        return self.request_ended or self.headers_sent or self._over

    def expire(self) -> None:
        """The receive timeout is over: fail a stream whose request has stalled. See ``deadlines.py``."""
        if self.ended:
            return
        if self.buffered_bytes:
            # The grpcio server is the one that does not read.
            self._restart_timeout()
        if self.deadline_s > time.monotonic():
            self._proxy.watch(self)
        else:
            self._proxy.fail(self, receive_timeout_error(stopping=self._proxy.stopping))

    def shorten_timeout(self) -> None:
        """The grpcio server is shutting down and would wait for the whole request: use the shorter timeout."""
        if not self.ended:
            self._restart_timeout()
            self._proxy.watch(self)

    def on_data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # positional: hot path
        """Data arrived: ``data[begin:end]``; ``ends``: with END_STREAM.

        Raises:
            Http2ConnectionError: The client exceeded its window.
        """
        if self.request_ended:
            return  # After END_STREAM nothing is forwarded.
        self._restart_timeout()
        self.buffered_bytes += end - begin
        if self.buffered_bytes > MAX_STREAM_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"stream {self.id} was sent more than its window")
        parts: list[memoryview | bytes] = [memoryview(data[begin:end])] if end > begin else []
        if ends:
            self.request_ended = True
            parts.append(frame(FrameType.DATA, END_STREAM, self.id, b""))
        queue = self.queue
        self._upstream.outflow.send(queue, *parts)
        if len(queue.parts) > _MAX_BUFFERS and not ends:
            queue.parts = deque((memoryview(b"".join(queue.parts)),))
        self._upstream.close_if_ended(self)

    def half_close(self) -> None:
        """The client has sent END_STREAM."""
        self.on_data(b"", 0, 0, True)  # noqa: FBT003  # likewise

    def on_window_update(self, size: int) -> None:
        """The client sent WINDOW_UPDATE."""
        self._upstream.write(window_update(self.id, size))

    def cancel(self) -> None:
        """The client has reset the stream, or disconnected."""
        self._upstream.close_stream(self)
        self._upstream.write(rst_stream(self.id, ErrorCode.CANCEL))

    def on_all_sent(self, window: int) -> None:
        """Nothing to do: see :class:`Http2Stream`."""

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """Never called: there is no :attr:`receive_buffer`."""
        raise AssertionError(f"bug: {size} bytes were put into no buffer, {ends=}")

    def closed(self) -> None:
        """The stream is closed upstream."""
        self._over = True
        # Breaks the reference cycle, so that both are freed at once.
        self.queue.on_sent = None

    def _restart_timeout(self) -> None:
        self.deadline_s = time.monotonic() + patience_s(stopping=self._proxy.stopping)

    def _sent(self, size: int) -> None:
        """Bytes were forwarded to the grpcio server: return them to the client's window."""
        self.buffered_bytes -= size
        self._used += size
        if self._used >= _RETURNED_BYTES and not self.request_ended:
            self._proxy.write(window_update(self.id, self._used))
            self._used = 0
