"""Decodes the messages that arrive on one ModelStreamInfer, and returns its receive window.

No I/O. Used on the lane's thread.
"""

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

# Longer messages are received into memory of their own; shorter ones stay in the buffer until they are complete.
_ASSEMBLED_BYTES: Final = 64 * 1024
# Bytes of the receive window that are consumed before WINDOW_UPDATE returns them.
_RETURNED_BYTES: Final = STREAM_WINDOW_BYTES // 4


class MessageDeframer:
    """The deframer of one stream: splits its data into gRPC's length-prefixed messages.

    Args:
        host: The lane.
        writer: The response writer of the connection; sends WINDOW_UPDATE.
        stream_id: The stream id.
        encoding: ``grpc-encoding`` of the caller; b"" = its messages must not be compressed.
    """

    __slots__ = (
        "_assembly", "_buffer", "_complete", "_encoding", "_host", "_position", "_stream_id", "_used", "_writer",
    )  # fmt: skip

    def __init__(self, host: CallHost, writer: ResponseWriter, stream_id: int, encoding: bytes) -> None:
        self._host = host
        self._writer = writer
        self._stream_id = stream_id
        self._encoding = encoding
        # Data that have arrived; those before the position are consumed.
        self._buffer = bytearray()
        self._position = 0
        # A large message that is being received; a large message that is complete, and whether it is compressed.
        self._assembly: MessageAssembly | None = None
        self._complete: tuple[memoryview, bool] | None = None
        # Consumed bytes of the window that were not returned yet.
        self._used = 0

    @property
    def receive_buffer(self) -> memoryview | None:
        """Buffer for the next data, to be followed by :meth:`buffer_updated`; None = pass them to :meth:`feed`."""
        return None if self._assembly is None else self._assembly.receive_buffer

    def feed(self, data: bytes, begin: int, end: int) -> None:
        """Add the data ``data[begin:end]``.

        Raises:
            Http2ConnectionError: The unread data exceed the largest receive window.
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
        """The first ``size`` bytes of :attr:`receive_buffer` have been filled."""
        if self._assembly is not None:
            self._on_assembled(self._assembly, self._assembly.buffer_updated(size))

    def next_message(self) -> tuple[bytes | memoryview, bool] | None:
        """Take the next complete message.

        Returns:
            The message, and whether it is compressed; None = no message is complete.

        Raises:
            InvalidRequest: The message is compressed, but the request headers name no known ``grpc-encoding``.
            MessageTooLarge: The message exceeds the size limit.
            QueueBytesFull: The byte budget of incomplete messages is used up.
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
        """Drop all data: no further message will be taken."""
        self._buffer, self._position, self._complete = bytearray(), 0, None
        if self._assembly is not None:
            self._assembly.release()
            self._assembly = None

    def _start_assembly(self, size: int) -> None:
        """Receive a large message, whose first bytes are in the buffer, into memory of its own."""
        assembly = self._assembly = MessageAssembly(self._host.max_message_bytes, self._host.unfinished, self._encoding)
        begun = bytes(memoryview(self._buffer)[self._position :])
        self._buffer, self._position = bytearray(), 0
        # Grant the window for the whole message at once: it has memory of its own.
        self._return_window(PREFIX_BYTES + size, at_once=True)
        assembly.feed(memoryview(begun))

    def _on_assembled(self, assembly: MessageAssembly, message: memoryview | None) -> None:
        if message is not None:
            self._complete = message, assembly.is_compressed
            self._assembly = None

    def _return_window(self, size: int, *, at_once: bool) -> None:
        """Count ``size`` bytes of the window as consumed; WINDOW_UPDATE returns them, at once or in larger steps."""
        self._used += size
        if at_once or self._used >= _RETURNED_BYTES:
            self._writer.write(window_update(self._stream_id, self._used))
            self._used = 0
