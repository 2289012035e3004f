"""What goes to one peer, as far as its windows allow (RFC 9113, section 5.2), and its socket. No I/O.

Data that was put here counts as sent, and its stream gives the next. Without a bound a caller that does not read would
make us hold all of a long stream. So streams that go on may be 1 MiB ahead of what the socket has taken; the rest is
held back, as by a window. An answer of one message is in memory anyway, and may go at once.
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

    from sardonyx_server.rpc.lane.windows.held import HeldBytes

__all__ = ["FEW_BYTES", "NO_WINDOW", "Flow", "Outflow", "put_data"]

NO_WINDOW: Final = 1 << 60
"""Of a stream that somebody else keeps to its window."""

# Data of paced streams that may be put before the socket has taken what was put earlier: a burst, and one large write.
_AHEAD_BYTES: Final = 1 << 20
FEW_BYTES: Final = _AHEAD_BYTES // 2
"""Once so little more may be put ahead, :meth:`Outflow.written` is worth its while."""


class Flow:
    """What one stream has still to send.

    Args:
        stream_id: Its number.
        window: How much the peer takes on it now, in bytes.
        paced: Whether it waits for the socket, because more of it is to come.
        on_sent: Told how many bytes of data went on, each time; None = nobody wants to know.

    Attributes:
        parts: In order: views are data, which windows hold back; bytes are frames as they are.
        window: It can be below 0.
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
    """Of one connection.

    Args:
        held: Counts what this one and others hold back.
        touch: Told when there is something to be written, and there was nothing before.

    Attributes:
        out: What is to be written, in order.
        touch: As given; for who puts something behind ``out`` by itself.
        window: How much the peer takes on the connection now, in bytes.
        ahead: How much paced streams may put before :meth:`written`, in bytes.
        initial_window: Of a stream that begins now.
        frame_bytes: Largest frame that the peer takes.
        held_bytes: Data that is held back.
        put_bytes: Of answers in ``out``, as far as they count: see :meth:`count_put`.
        waiting_bytes: Of what went out of ``out`` and waits for the socket.
    """

    __slots__ = (
        "_flows", "_held", "ahead", "frame_bytes", "held_bytes", "initial_window", "out", "put_bytes", "touch",
        "waiting_bytes", "window",
    )  # fmt: skip

    def __init__(self, held: HeldBytes, touch: Callable[[], None]) -> None:
        self._held = held
        self.touch = touch
        self.out: list[bytes | memoryview] = []
        self.window = DEFAULT_WINDOW_BYTES
        self.ahead = _AHEAD_BYTES
        self.initial_window = DEFAULT_WINDOW_BYTES
        self.frame_bytes = DEFAULT_FRAME_BYTES
        self.held_bytes = self.put_bytes = self.waiting_bytes = 0
        self._flows: dict[int, Flow] = {}

    def put(self, frames: bytes) -> None:
        """Send frames as they are."""
        if not self.out:
            self.touch()
        self.out.append(frames)

    def send(self, flow: Flow, *parts: memoryview | bytes) -> None:
        """Send more of a stream, or as much as may be sent; the rest follows when it may."""
        was_empty = not self.out
        flow.parts += parts
        self._hold(_data_bytes(parts))
        self._send(flow)
        if flow.parts:
            self._flows[flow.id] = flow
        if was_empty and self.out:
            self.touch()

    def flow(self, stream_id: int) -> Flow | None:
        """What a stream has still to send; None where that is nothing."""
        return self._flows.get(stream_id)

    def drop(self, stream_id: int) -> Flow | None:
        """Send no more of a stream. Returns what it had."""
        flow = self._flows.pop(stream_id, None)
        if flow is not None:
            self._hold(-_data_bytes(flow.parts))
        return flow

    def drop_all(self) -> set[int]:
        """Send no more of any stream. Returns those that had something."""
        dropped = set(self._flows)
        for stream_id in dropped:
            self.drop(stream_id)
        return dropped

    def widen(self, size: int) -> None:
        """The peer takes so many more bytes on the connection.

        Raises:
            Http2ConnectionError: That is more than it can say.
        """
        self.window += size
        if not size or self.window > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is out of bounds")

    def written(self) -> None:
        """The socket has taken all that was put. To be told at least whenever :attr:`ahead` is below FEW_BYTES."""
        self.ahead = _AHEAD_BYTES

    def count_put(self, size: int) -> None:
        """So many bytes of an answer went into ``out``. They count at once: one turn may have any number of answers."""
        self._held.bytes += size
        self.put_bytes += size

    def wait(self, size: int) -> None:
        """So many bytes wait for the socket now, with what was put."""
        self._held.bytes += size - self.waiting_bytes - self.put_bytes
        self.waiting_bytes = size
        self.put_bytes = 0

    def set_initial_window(self, size: int) -> None:
        """The peer takes so many bytes on each stream; those under way are moved along, below 0 if need be.

        Raises:
            Http2ConnectionError: That is more than it can say.
        """
        if size > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {size} bytes is out of bounds")
        for flow in self._flows.values():
            flow.window += size - self.initial_window
            if LARGEST_WINDOW_BYTES < flow.window < NO_WINDOW // 2:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is out of bounds")
        self.initial_window = size

    def set_frame_bytes(self, size: int) -> None:
        """The peer takes frames up to this size.

        Raises:
            Http2ConnectionError: It may not say so.
        """
        if not DEFAULT_FRAME_BYTES <= size <= LARGEST_FRAME_BYTES:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"frames of {size} bytes are out of bounds")
        self.frame_bytes = size

    def go_on(self, only: Flow | None = None) -> list[Flow]:
        """Send what may be sent now, of one stream or of all. Returns those that have sent all they had."""
        was_empty, done = not self.out, []
        for flow in list(self._flows.values()) if only is None else [only]:
            self._send(flow)
            if not flow.parts and flow.id in self._flows:
                del self._flows[flow.id]
                done.append(flow)
        if was_empty and self.out:
            self.touch()
        return done

    def _hold(self, size: int) -> None:
        self.held_bytes += size
        self._held.bytes += size

    def _send(self, flow: Flow) -> None:
        parts, out = flow.parts, self.out
        while parts:
            part = parts[0]
            if isinstance(part, bytes):
                out.append(parts.popleft())
                continue
            size = min(len(part), self.window, flow.window)
            if flow.paced:
                size = min(size, self.ahead)
            if size <= 0 < len(part):
                return
            # Of empty data, where a window is below 0.
            size = max(size, 0)
            put_data(part[:size], flow.id, self.frame_bytes, out)
            self.window -= size
            flow.window -= size
            if flow.paced:
                self.ahead -= size
            self._hold(-size)
            if size == len(part):
                parts.popleft()
            else:
                parts[0] = part[size:]
            if flow.on_sent is not None:
                flow.on_sent(size)


def put_data(data: memoryview, stream_id: int, frame_bytes: int, out: list[bytes | memoryview]) -> None:
    """Put data that may be sent behind ``out``, in frames of at most so many bytes."""
    # Of those that are full; the last one may be, too.
    full_bytes = (max(len(data), 1) - 1) // frame_bytes * frame_bytes
    if full_bytes:
        frames = [data[begin : begin + frame_bytes] for begin in range(0, full_bytes, frame_bytes)]
        out += chain.from_iterable(zip(repeat(frame_header(DATA, 0, stream_id, frame_bytes)), frames, strict=False))
        data = data[full_bytes:]
    out += (frame_header(DATA, 0, stream_id, len(data)), data)


def _data_bytes(parts: Iterable[memoryview | bytes]) -> int:
    return sum(len(part) for part in parts if not isinstance(part, bytes))
