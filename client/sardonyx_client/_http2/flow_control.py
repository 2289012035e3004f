"""Send-side flow control: queues requests and sends what the server's windows allow (RFC 9113, section 5.2). No I/O."""

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

    from sardonyx_client._http2.stream import Stream

__all__ = ["CONNECTION_PREFACE", "SendFlowControl"]

# Receive windows are as large as the protocol allows: each caller reads its response at once, and a response must fit
# in memory anyway. The client's max_message_bytes limits responses.
CONNECTION_PREFACE: Final = (
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
"""The client's connection preface, SETTINGS, and the window of the connection."""

# Data that may be queued before the socket has accepted what was queued earlier. The rest stays with its call, and is
# never sent if the call is cancelled meanwhile: an overloaded server should not have to read it.
_SEND_AHEAD_BYTES: Final = 1 << 20


class SendFlowControl:
    """Send queue and windows of one connection.

    Attributes:
        out: What is to be sent, in order.
        initial_window: Send window of a new stream, in bytes.
    """

    __slots__ = ("_max_frame_bytes", "_send_ahead_bytes", "_unsent", "_window", "initial_window", "outbox")

    def __init__(self) -> None:
        self.outbox: list[bytes | memoryview] = [CONNECTION_PREFACE]
        self.initial_window = DEFAULT_WINDOW_BYTES
        self._window = DEFAULT_WINDOW_BYTES
        self._max_frame_bytes = DEFAULT_FRAME_BYTES
        self._send_ahead_bytes = _SEND_AHEAD_BYTES
        self._unsent: dict[int, Stream] = {}

    def enqueue(self, stream: Stream) -> None:
        """Send a request as far as the windows allow; the rest follows later."""
        self._send(stream)
        if not stream.sent:
            self._unsent[stream.id] = stream

    def discard(self, stream: Stream) -> bool:
        """Drop the unsent rest of a request; returns whether there was any."""
        return self._unsent.pop(stream.id, None) is not None

    def increase_window(self, size: int) -> None:
        """WINDOW_UPDATE of the connection.

        Raises:
            Http2ConnectionError: The window exceeds the protocol's limit.
        """
        self._window += size
        if not size or self._window > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the server's window is out of bounds")

    def set_initial_window(self, size: int, streams: Iterable[Stream]) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE. Windows of open streams change by the difference, and may become negative.

        Raises:
            Http2ConnectionError: The size exceeds the protocol's limit.
        """
        if size > LARGEST_WINDOW_BYTES:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"the server wants a window of {size} bytes")
        for stream in streams:
            stream.window += size - self.initial_window
        self.initial_window = size

    def set_max_frame_size(self, size: int) -> None:
        """SETTINGS_MAX_FRAME_SIZE.

        Raises:
            Http2ConnectionError: The size is outside the protocol's range.
        """
        if not DEFAULT_FRAME_BYTES <= size <= LARGEST_FRAME_BYTES:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"the server wants frames of {size} bytes")
        self._max_frame_bytes = size

    def data_sent(self) -> None:
        """The socket has accepted all queued data, so more may be queued."""
        if self._send_ahead_bytes < _SEND_AHEAD_BYTES:
            self._send_ahead_bytes = _SEND_AHEAD_BYTES
            if self._unsent:
                self.resume()

    def resume(self) -> None:
        """Send what the windows allow now."""
        for stream in list(self._unsent.values()):
            self._send(stream)
            if stream.sent:
                del self._unsent[stream.id]

    def _send(self, stream: Stream) -> None:
        while not stream.sent:
            size_limit = min(self._window, stream.window, self._max_frame_bytes, self._send_ahead_bytes)
            if size_limit <= 0:
                return
            size, parts = stream.next_frame(size_limit)
            self._window -= size
            self._send_ahead_bytes -= size
            stream.window -= size
            self.outbox += parts
