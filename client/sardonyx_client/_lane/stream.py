"""One call on a connection: its request as it is cut into frames, and its answer. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_wire.http2.constants import DATA, END_STREAM
from sardonyx_wire.http2.frames import frame_header

if TYPE_CHECKING:
    from sardonyx_client._lane.answer import Answer

__all__ = ["Stream"]

_PREFIX_BYTES: Final = 5


class Stream:
    """A stream of HTTP/2.

    Args:
        stream_id: Its number.
        answer: Of the call.
        message: Of the request; not copied.
        window: How much the server takes, in bytes.

    Attributes:
        id: Its number.
        answer: As it arrives.
        sent: Whether the whole request was handed out.
        window: How much the server takes now; it can be below 0.
    """

    __slots__ = ("_message", "_position", "_prefix", "_size", "answer", "id", "sent", "window")

    def __init__(self, stream_id: int, answer: Answer, message: bytes, window: int) -> None:
        self.id = stream_id
        self.answer = answer
        self.sent = False
        self.window = window
        # Not compressed, and the length.
        self._prefix = len(message).to_bytes(_PREFIX_BYTES)
        self._message = message
        self._size = _PREFIX_BYTES + len(message)
        self._position = 0

    def next_frame(self, most_bytes: int) -> tuple[int, list[bytes | memoryview]]:
        """The next frame of the request. Requires: not all was sent.

        Args:
            most_bytes: That it may carry.

        Returns:
            (what it takes of the windows, its parts: views of the message where that is cut).
        """
        begin = self._position
        if not begin and self._size <= most_bytes:
            self.sent = True
            return self._size, [frame_header(DATA, END_STREAM, self.id, self._size), self._prefix, self._message]
        end = self._position = min(begin + most_bytes, self._size)
        self.sent = end == self._size
        parts: list[bytes | memoryview] = [frame_header(DATA, END_STREAM if self.sent else 0, self.id, end - begin)]
        if begin < _PREFIX_BYTES:
            parts.append(self._prefix[begin:end])
        if end > _PREFIX_BYTES:
            parts.append(memoryview(self._message)[max(0, begin - _PREFIX_BYTES) : end - _PREFIX_BYTES])
        return end - begin, parts
