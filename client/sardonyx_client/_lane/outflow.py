"""What goes to the server, as far as its windows allow (RFC 9113, section 5.2). No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import (
    DEFAULT_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    LARGEST_FRAME_BYTES,
    LARGEST_WINDOW_BYTES,
    MAX_FRAME_BYTES,
    PREFACE,
    ErrorCode,
    Setting,
    settings,
    window_update,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sardonyx_client._lane.stream import Stream

__all__ = ["OPENING", "Outflow"]

# Windows are as wide as they can be: one call's answer is read by its caller at once, and what is asked for must fit in
# memory anyway. Answers are limited by the client's max_message_bytes.
OPENING: Final = (
    PREFACE
    + settings(
        {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW_BYTES,
            Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        }
    )
    + window_update(0, LARGEST_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
)
"""What the client says first."""

# Data that may be handed out before the socket has taken what was handed out earlier. What waits beyond is not sent at
# all where its call is given up meanwhile: a server that is overloaded should not have to read it.
_AHEAD_BYTES: Final = 1 << 20


class Outflow:
    """Of one connection.

    Attributes:
        out: What is to be sent, in order.
        initial_window: Of a stream that begins now, in bytes.
    """

    __slots__ = ("_ahead", "_frame_bytes", "_unsent", "_window", "initial_window", "out")

    def __init__(self) -> None:
        self.out: list[bytes | memoryview] = [OPENING]
        self.initial_window = DEFAULT_WINDOW_BYTES
        self._window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = DEFAULT_FRAME_BYTES
        self._ahead = _AHEAD_BYTES
        self._unsent: dict[int, Stream] = {}

    def begin(self, stream: Stream) -> None:
        """Send a request, or as much as may be sent; the rest follows when it may."""
        self._send(stream)
        if not stream.sent:
            self._unsent[stream.id] = stream

    def drop(self, stream: Stream) -> bool:
        """Send no more of a request; whether there was more."""
        return self._unsent.pop(stream.id, None) is not None

    def widen(self, size: int) -> None:
        """The server takes so many more bytes on the connection.

        Raises:
            Http2ConnectionError: That is more than it can say.
        """
        self._window += size
        if not size or self._window > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the server's window is out of bounds")

    def set_initial_window(self, size: int, streams: Iterable[Stream]) -> None:
        """The server takes so many bytes on each stream; those that are open are moved along, below 0 if need be.

        Raises:
            Http2ConnectionError: That is more than it can say.
        """
        if size > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"the server wants a window of {size} bytes")
        for stream in streams:
            stream.window += size - self.initial_window
        self.initial_window = size

    def set_frame_bytes(self, size: int) -> None:
        """The server takes frames up to this size.

        Raises:
            Http2ConnectionError: It may not say so.
        """
        if not DEFAULT_FRAME_BYTES <= size <= LARGEST_FRAME_BYTES:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"the server wants frames of {size} bytes")
        self._frame_bytes = size

    def written(self) -> None:
        """The socket has taken all that was handed out: more may be."""
        if self._ahead < _AHEAD_BYTES:
            self._ahead = _AHEAD_BYTES
            if self._unsent:
                self.go_on()

    def go_on(self) -> None:
        """Send what may be sent now."""
        for stream in list(self._unsent.values()):
            self._send(stream)
            if stream.sent:
                del self._unsent[stream.id]

    def _send(self, stream: Stream) -> None:
        while not stream.sent:
            room = min(self._window, stream.window, self._frame_bytes, self._ahead)
            if room <= 0:
                return
            size, parts = stream.next_frame(room)
            self._window -= size
            self._ahead -= size
            stream.window -= size
            self.out += parts
