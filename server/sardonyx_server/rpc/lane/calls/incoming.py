"""What a caller sends on one ModelStreamInfer: bytes -> messages, and its window. No I/O; on the lane's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.flow_control.inflow import MAX_STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES
from sardonyx_server.rpc.lane.messages.message import PREFIX_BYTES, Assembly, checked_size
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode, window_update

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.replies import Replies

__all__ = ["Incoming"]

# A message that is longer is collected as it comes; shorter ones wait as they are until they are whole.
_COLLECTED_BYTES: Final = 64 * 1024
# The caller gets its window back once it has used so much of it.
_RETURNED_BYTES: Final = STREAM_WINDOW_BYTES // 4


class Incoming:
    """Of one stream.

    Args:
        host: The lane.
        replies: Of the connection; for what is given back of the window.
        stream_id: Its number there.
        encoding: Of compressed messages; b"" where there may be none.
    """

    __slots__ = (
        "_assembly", "_encoding", "_host", "_position", "_replies", "_stream_id", "_unread", "_used", "_whole",
    )  # fmt: skip

    def __init__(self, host: CallHost, replies: Replies, stream_id: int, encoding: bytes) -> None:
        self._host = host
        self._replies = replies
        self._stream_id = stream_id
        self._encoding = encoding
        # What has come and was not taken yet, from a position on.
        self._unread = bytearray()
        self._position = 0
        # A large message that comes, and one that has come.
        self._assembly: Assembly | None = None
        self._whole: tuple[memoryview, bool] | None = None
        self._used = 0

    @property
    def room(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`filled`; None where they come by :meth:`add`."""
        return None if self._assembly is None else self._assembly.room

    def add(self, data: bytes, begin: int, end: int) -> None:
        """Data came, between two positions.

        Raises:
            Http2ConnectionError: They are more than the window.
        """
        assembly = self._assembly
        if assembly is None:
            self._unread += data[begin:end]
        else:
            room = assembly.room
            if room is None:
                raise AssertionError("bug: no message is collected")
            piece, missing = memoryview(data)[begin:end], len(room)
            self._unread += piece[missing:]
            self._see_whole(assembly, assembly.add(piece[:missing]))
        if len(self._unread) - self._position > MAX_STREAM_WINDOW_BYTES:
            raise Http2ConnectionError(
                ErrorCode.FLOW_CONTROL_ERROR, f"stream {self._stream_id} was sent more than its window"
            )

    def filled(self, size: int) -> None:
        """So many bytes were put into :attr:`room`."""
        if self._assembly is not None:
            self._see_whole(self._assembly, self._assembly.filled(size))

    def take(self) -> tuple[bytes | memoryview, bool] | None:
        """The next message that has come whole, and whether it is compressed; None where there is none.

        Raises:
            InvalidRequest: It is compressed in a way that was not said.
            MessageTooLarge: It is larger than is accepted.
            QueueBytesFull: Too many bytes of unfinished messages wait already.
        """
        if self._whole is not None:
            found, self._whole = self._whole, None
            return found
        unread, position = self._unread, self._position
        if self._assembly is not None or len(unread) - position < PREFIX_BYTES:
            return None
        prefix = bytes(unread[position : position + PREFIX_BYTES])
        size = checked_size(prefix, self._host.max_message_bytes, self._encoding)
        end = position + PREFIX_BYTES + size
        if end > len(unread):
            if size > _COLLECTED_BYTES:
                self._collect(size)
            return None
        message = bytes(memoryview(unread)[position + PREFIX_BYTES : end])
        self._position = end
        if end == len(unread) or end > _COLLECTED_BYTES:
            self._unread = unread[end:]
            self._position = 0
        self._return(PREFIX_BYTES + size, at_once=False)
        return message, prefix[0] == 1

    def drop(self) -> None:
        """Nothing of it will be taken any more."""
        self._unread, self._position, self._whole = bytearray(), 0, None
        if self._assembly is not None:
            self._assembly.drop()
            self._assembly = None

    def _collect(self, size: int) -> None:
        """A large message has begun."""
        assembly = self._assembly = Assembly(self._host.max_message_bytes, self._host.unfinished, self._encoding)
        begun = bytes(memoryview(self._unread)[self._position :])
        self._unread, self._position = bytearray(), 0
        # All of it may come at once.
        self._return(PREFIX_BYTES + size, at_once=True)
        assembly.add(memoryview(begun))

    def _see_whole(self, assembly: Assembly, message: memoryview | None) -> None:
        if message is not None:
            self._whole = message, assembly.is_packed
            self._assembly = None

    def _return(self, size: int, *, at_once: bool) -> None:
        """So much of the window was used: the caller may send more."""
        self._used += size
        if at_once or self._used >= _RETURNED_BYTES:
            self._replies.write(window_update(self._stream_id, self._used))
            self._used = 0
