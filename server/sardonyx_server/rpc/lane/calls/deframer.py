"""Decodes the messages that arrive on one ModelStreamInfer, and returns its window. No I/O; on the lane's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.rpc.lane.flow_control.inflow import MAX_STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES
from sardonyx_server.rpc.lane.messages.message_assembly import PREFIX_BYTES, MessageAssembly, parse_prefix
from sardonyx_wire.http2.errors import Http2ConnectionError
from sardonyx_wire.http2.frames import ErrorCode, window_update

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter

__all__ = ["MessageDeframer"]

# A message that is longer is collected as it comes; shorter ones wait as they are until they are whole.
_ASSEMBLED_BYTES: Final = 64 * 1024
# The caller gets its window back once it has used so much of it.
_RETURNED_BYTES: Final = STREAM_WINDOW_BYTES // 4


class MessageDeframer:
    """The deframer of one stream: gRPC's length-prefixed messages.

    Args:
        host: The lane.
        writer: Of the connection; for what is given back of the window.
        stream_id: Its number there.
        encoding: Of compressed messages; b"" where there may be none.
    """

    __slots__ = (
        "_assembly", "_buffer", "_complete", "_encoding", "_host", "_position", "_stream_id", "_used", "_writer",
    )  # fmt: skip

    def __init__(self, host: CallHost, writer: ResponseWriter, stream_id: int, encoding: bytes) -> None:
        self._host = host
        self._writer = writer
        self._stream_id = stream_id
        self._encoding = encoding
        # What has come and was not taken yet, from a position on.
        self._buffer = bytearray()
        self._position = 0
        # A large message that comes, and one that has come.
        self._assembly: MessageAssembly | None = None
        self._complete: tuple[memoryview, bool] | None = None
        self._used = 0

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`buffer_updated`; None where they come by :meth:`feed`."""
        return None if self._assembly is None else self._assembly.receive_buffer

    def feed(self, data: bytes, begin: int, end: int) -> None:
        """Data came, between two positions.

        Raises:
            Http2ConnectionError: They are more than the window.
        """
        assembly = self._assembly
        if assembly is None:
            self._buffer += data[begin:end]
        else:
            buffer = assembly.receive_buffer
            if buffer is None:
                raise AssertionError("bug: no message is collected")
            piece, missing = memoryview(data)[begin:end], len(buffer)
            self._buffer += piece[missing:]
            self._on_assembled(assembly, assembly.feed(piece[:missing]))
        if len(self._buffer) - self._position > MAX_STREAM_WINDOW_BYTES:
            raise Http2ConnectionError(
                ErrorCode.FLOW_CONTROL_ERROR, f"stream {self._stream_id} was sent more than its window"
            )

    def buffer_updated(self, size: int) -> None:
        """So many bytes were put into :attr:`receive_buffer`."""
        if self._assembly is not None:
            self._on_assembled(self._assembly, self._assembly.buffer_updated(size))

    def next_message(self) -> tuple[bytes | memoryview, bool] | None:
        """The next message that has come whole, and whether it is compressed; None where there is none.

        Raises:
            InvalidRequest: It is compressed in a way that was not said.
            MessageTooLarge: It is larger than is accepted.
            QueueBytesFull: Too many bytes of unfinished messages wait already.
        """
        if self._complete is not None:
            found, self._complete = self._complete, None
            return found
        unread, position = self._buffer, self._position
        if self._assembly is not None or len(unread) - position < PREFIX_BYTES:
            return None
        prefix = bytes(unread[position : position + PREFIX_BYTES])
        size = parse_prefix(prefix, self._host.max_message_bytes, self._encoding)
        end = position + PREFIX_BYTES + size
        if end > len(unread):
            if size > _ASSEMBLED_BYTES:
                self._start_assembly(size)
            return None
        message = bytes(memoryview(unread)[position + PREFIX_BYTES : end])
        self._position = end
        if end == len(unread) or end > _ASSEMBLED_BYTES:
            self._buffer = unread[end:]
            self._position = 0
        self._return_window(PREFIX_BYTES + size, at_once=False)
        return message, prefix[0] == 1

    def discard(self) -> None:
        """Nothing of it will be taken any more."""
        self._buffer, self._position, self._complete = bytearray(), 0, None
        if self._assembly is not None:
            self._assembly.release()
            self._assembly = None

    def _start_assembly(self, size: int) -> None:
        """A large message has begun."""
        assembly = self._assembly = MessageAssembly(self._host.max_message_bytes, self._host.unfinished, self._encoding)
        begun = bytes(memoryview(self._buffer)[self._position :])
        self._buffer, self._position = bytearray(), 0
        # All of it may come at once.
        self._return_window(PREFIX_BYTES + size, at_once=True)
        assembly.feed(memoryview(begun))

    def _on_assembled(self, assembly: MessageAssembly, message: memoryview | None) -> None:
        if message is not None:
            self._complete = message, assembly.is_compressed
            self._assembly = None

    def _return_window(self, size: int, *, at_once: bool) -> None:
        """So much of the window was used: the caller may send more."""
        self._used += size
        if at_once or self._used >= _RETURNED_BYTES:
            self._writer.write(window_update(self._stream_id, self._used))
            self._used = 0
