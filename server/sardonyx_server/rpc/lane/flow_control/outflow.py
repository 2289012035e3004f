"""Output of one connection, within the windows of the peer (RFC 9113, section 5.2) and what the socket takes. No I/O.

A stream produces its next message once the previous one has been written here. Without a bound, a peer that does not
read would make us buffer all of a long stream. So streams of several messages (*paced* ones) share a write credit of
1 MiB ahead of the socket. Beyond it their data are queued, as behind a flow-control window. A response of one message
is in memory anyway and may be written at once.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.constants import DATA
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import (
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW_BYTES,
    ErrorCode,
    frame_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget

__all__ = ["LOW_WRITE_CREDIT_BYTES", "UNLIMITED_WINDOW", "Outflow", "SendQueue", "append_data_frames"]

UNLIMITED_WINDOW: Final = 1 << 60
"""Window of a stream whose sender observes the window of the peer itself: the grpcio server."""

# Data of paced streams that may be written before the socket has accepted earlier output: enough for one large write.
_WRITE_CREDIT_BYTES: Final = 1 << 20
LOW_WRITE_CREDIT_BYTES: Final = _WRITE_CREDIT_BYTES // 2
"""Below this write credit the transport has to call :meth:`Outflow.written`."""


class SendQueue:
    """Data and frames of one stream that are still to be sent.

    Args:
        stream_id: The stream id.
        window: Flow-control window of the stream, in bytes.
        paced: Whether its data use write credit, because more will follow.
        on_sent: Called with the number of data bytes each time some have been written; None = not called.

    Attributes:
        parts: In order: memoryviews are data, subject to flow control; bytes are whole frames.
        window: As given, less what was sent. May be negative.
    """

    __slots__ = ("id", "on_sent", "paced", "parts", "window")

    def __init__(
        self, stream_id: int, window: int, *, paced: bool, on_sent: Callable[[int], None] | None = None
    ) -> None:
        self.id = stream_id
        self.window = window
        self.paced = paced
        self.parts: deque[memoryview | bytes] = deque()
        self.on_sent = on_sent


class Outflow:
    """The outbound half of one connection.

    Args:
        send_budget: Counts the unsent bytes of all connections.
        schedule_write: Called when the output buffer becomes non-empty.

    Attributes:
        out: The output buffer, in order.
        schedule_write: As given; for code that appends to an empty ``out`` itself.
        window: Flow-control window of the connection, in bytes.
        write_credit: Bytes that paced streams may write before :meth:`written`. May be negative.
        initial_window: Window of new streams, in bytes.
        max_frame_bytes: Largest frame that the peer accepts.
        blocked_bytes: Data that are queued behind windows or for write credit.
        output_bytes: Counted bytes of responses in ``out``: see :meth:`count_output`.
        socket_bytes: Bytes that were taken from ``out`` and wait for the socket.
    """

    __slots__ = (
        "_queues", "_send_budget", "blocked_bytes", "initial_window", "max_frame_bytes", "out", "output_bytes",
        "schedule_write", "socket_bytes", "window", "write_credit",
    )  # fmt: skip

    def __init__(self, send_budget: SendBudget, schedule_write: Callable[[], None]) -> None:
        self._send_budget = send_budget
        self.schedule_write = schedule_write
        self.out: list[bytes | memoryview] = []
        self.window = DEFAULT_WINDOW_BYTES
        self.write_credit = _WRITE_CREDIT_BYTES
        self.initial_window = DEFAULT_WINDOW_BYTES
        self.max_frame_bytes = DEFAULT_FRAME_BYTES
        self.blocked_bytes = self.output_bytes = self.socket_bytes = 0
        self._queues: dict[int, SendQueue] = {}

    def write(self, frames: bytes) -> None:
        """Write whole frames, which are not subject to flow control."""
        if not self.out:
            self.schedule_write()
        self.out.append(frames)

    def send(self, queue: SendQueue, *parts: memoryview | bytes) -> None:
        """Append to a send queue, and write as much of it as may be sent now."""
        was_empty = not self.out
        queue.parts += parts
        self._count_blocked(_data_bytes(parts))
        self._send(queue)
        if queue.parts:
            self._queues[queue.id] = queue
        if was_empty and self.out:
            self.schedule_write()

    def queue(self, stream_id: int) -> SendQueue | None:
        """The send queue of a stream; None where it is empty."""
        return self._queues.get(stream_id)

    def discard(self, stream_id: int) -> SendQueue | None:
        """Drop the send queue of a stream. Returns it; None where it was empty."""
        queue = self._queues.pop(stream_id, None)
        if queue is not None:
            self._count_blocked(-_data_bytes(queue.parts))
        return queue

    def discard_all(self) -> set[int]:
        """Drop all send queues. Returns the ids of their streams."""
        discarded = set(self._queues)
        for stream_id in discarded:
            self.discard(stream_id)
        return discarded

    def increase_window(self, size: int) -> None:
        """The peer increased the window of the connection.

        Raises:
            Http2ConnectionError: The increment is 0, or the window is larger than the protocol allows.
        """
        self.window += size
        if not size or self.window > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is out of bounds")

    def written(self) -> None:
        """The socket has accepted all output. Must be called when :attr:`write_credit` is low, may be at any time."""
        self.write_credit = _WRITE_CREDIT_BYTES

    def count_output(self, size: int) -> None:
        """Count bytes of a response in ``out``. Counted at once: one turn of the loop may write many responses."""
        self._send_budget.used_bytes += size
        self.output_bytes += size

    def set_socket_bytes(self, size: int) -> None:
        """Set how many bytes wait for the socket, those counted by :meth:`count_output` included."""
        self._send_budget.used_bytes += size - self.socket_bytes - self.output_bytes
        self.socket_bytes = size
        self.output_bytes = 0

    def set_initial_window(self, size: int) -> None:
        """The peer changed its initial window: adjusts the windows of open streams, which may become negative.

        Raises:
            Http2ConnectionError: A window is larger than the protocol allows.
        """
        if size > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {size} bytes is out of bounds")
        for queue in self._queues.values():
            queue.window += size - self.initial_window
            if LARGEST_WINDOW_BYTES < queue.window < UNLIMITED_WINDOW // 2:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is out of bounds")
        self.initial_window = size

    def set_max_frame_bytes(self, size: int) -> None:
        """The peer set the largest frame that it accepts.

        Raises:
            Http2ConnectionError: The size is outside the limits of the protocol.
        """
        if not DEFAULT_FRAME_BYTES <= size <= LARGEST_FRAME_BYTES:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"frames of {size} bytes are out of bounds")
        self.max_frame_bytes = size

    def resume(self, only: SendQueue | None = None) -> list[SendQueue]:
        """Write what may be sent now, of one queue or of all. Returns the queues that are empty then."""
        was_empty, done = not self.out, []
        for queue in list(self._queues.values()) if only is None else [only]:
            self._send(queue)
            if not queue.parts and queue.id in self._queues:
                del self._queues[queue.id]
                done.append(queue)
        if was_empty and self.out:
            self.schedule_write()
        return done

    def _count_blocked(self, size: int) -> None:
        self.blocked_bytes += size
        self._send_budget.used_bytes += size

    def _send(self, queue: SendQueue) -> None:
        parts, out = queue.parts, self.out
        while parts:
            part = parts[0]
            if isinstance(part, bytes):
                out.append(parts.popleft())
                continue
            size = min(len(part), self.window, queue.window)
            if queue.paced:
                size = min(size, self.write_credit)
            if size <= 0 < len(part):
                return
            # For empty data while the window is negative.
            size = max(size, 0)
            append_data_frames(part[:size], queue.id, self.max_frame_bytes, out)
            self.window -= size
            queue.window -= size
            if queue.paced:
                self.write_credit -= size
            self._count_blocked(-size)
            if size == len(part):
                parts.popleft()
            else:
                parts[0] = part[size:]
            if queue.on_sent is not None:
                queue.on_sent(size)


def append_data_frames(data: memoryview, stream_id: int, frame_bytes: int, out: list[bytes | memoryview]) -> None:
    """Append DATA frames of at most ``frame_bytes`` to ``out``. Requires: the windows allow it."""
    # Data in full frames, except for the last frame, which may be full as well.
    full_bytes = (max(len(data), 1) - 1) // frame_bytes * frame_bytes
    if full_bytes:
        frames = [data[begin : begin + frame_bytes] for begin in range(0, full_bytes, frame_bytes)]
        out += chain.from_iterable(zip(repeat(frame_header(DATA, 0, stream_id, frame_bytes)), frames, strict=False))
        data = data[full_bytes:]
    out += (frame_header(DATA, 0, stream_id, len(data)), data)


def _data_bytes(parts: Iterable[memoryview | bytes]) -> int:
    return sum(len(part) for part in parts if not isinstance(part, bytes))
