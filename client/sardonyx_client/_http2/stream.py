"""One call on a connection: the request, cut into DATA frames, and the response. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.constants import DATA, END_STREAM
from sardonyx_wire.http2.frames import frame_header

if TYPE_CHECKING:
    from sardonyx_client._http2.response import Response

__all__ = ["Stream"]

_PREFIX_BYTES: Final = 5


class Stream:
    """An HTTP/2 stream.

    Args:
        stream_id: Stream id.
        response: The response of the call.
        message: Message of the request; not copied.
        window: Initial send window in bytes.

    Attributes:
        id: Stream id.
        response: The response, as it arrives.
        sent: Whether the whole request has been queued for sending.
        window: Send window in bytes; may be negative.
    """

    __slots__ = ("_message", "_position", "_prefix", "_size", "id", "response", "sent", "window")

    def __init__(self, stream_id: int, response: Response, message: bytes, window: int) -> None:
        self.id = stream_id
        self.response = response
        self.sent = False
        self.window = window
        # Compressed flag 0, and the length.
        self._prefix = len(message).to_bytes(_PREFIX_BYTES)
        self._message = message
        self._size = _PREFIX_BYTES + len(message)
        self._position = 0

    def next_frame(self, max_bytes: int) -> tuple[int, list[bytes | memoryview]]:
        """The next DATA frame of the request. Requires: not :attr:`sent`.

        Args:
            max_bytes: Largest payload.

        Returns:
            (payload bytes, parts of the frame; parts may be views of the message).
        """
        begin = self._position
        if not begin and self._size <= max_bytes:
            self.sent = True
            return self._size, [frame_header(DATA, END_STREAM, self.id, self._size), self._prefix, self._message]
        end = self._position = min(begin + max_bytes, self._size)
        self.sent = end == self._size
        parts: list[bytes | memoryview] = [frame_header(DATA, END_STREAM if self.sent else 0, self.id, end - begin)]
        if begin < _PREFIX_BYTES:
            parts.append(self._prefix[begin:end])
        if end > _PREFIX_BYTES:
            parts.append(memoryview(self._message)[max(0, begin - _PREFIX_BYTES) : end - _PREFIX_BYTES])
        return end - begin, parts
