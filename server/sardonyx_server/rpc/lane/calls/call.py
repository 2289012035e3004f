"""One ModelInfer on the lane, and its stream of HTTP/2. See :class:`~sardonyx_server.engine.call.Call`."""

from __future__ import annotations

import math
import time
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING

from sardonyx_server.errors import InvalidRequest, Overloaded, ServerError
from sardonyx_server.rpc.lane.flow_control.inflow import NARROW_WINDOW_BYTES
from sardonyx_server.rpc.lane.messages.compression import decompress
from sardonyx_server.rpc.lane.messages.message_assembly import PREFIX_BYTES, MessageAssembly
from sardonyx_wire.http2.frames import window_update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.rpc.lane.calls.host import CallHost
    from sardonyx_server.rpc.lane.calls.response_writer import ResponseWriter
    from sardonyx_server.rpc.lane.messages.request_headers import RequestHeaders
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["LaneCall"]


class LaneCall:
    """A call.

    Args:
        host: The lane.
        writer: Of the connection on which it came.
        stream_id: Its number there.
        request: Its header.

    Attributes:
        id: Number of the stream.
        headers_sent:Whether a header was sent and more is to come: never, for the answer is one message.
        cancelled: Whether the caller has gone away.
        deadline_s: When the caller gives up, on ``time.monotonic``.
        encoding: How its answer may be compressed; b"" for not at all.
        half_closed: Whether the caller has sent all it will.
        window_delta: How much more than at the beginning the caller takes on this stream, in bytes.
    """

    __slots__ = (
        "__weakref__", "_assembly", "_host", "_on_received", "_received", "_request", "_window", "_writer", "cancelled",
        "deadline_s", "encoding", "half_closed", "id", "window_delta",
    )  # fmt: skip

    streamed = False
    headers_sent = False

    def __init__(self, host: CallHost, writer: ResponseWriter, stream_id: int, request: RequestHeaders) -> None:
        self._host = host
        self._writer = writer
        self._request = request
        # Whether it has been handed on, so that it will be answered.
        self._received = False
        # Of its message, where that comes in pieces.
        self._assembly: MessageAssembly | None = None
        # Told when that has come, or will not come; None = nobody waits for it.
        self._on_received: Callable[[], None] | None = None
        # What its caller may send before it is given more.
        self._window = writer.inflow.window
        self.id = stream_id
        self.cancelled = False
        timeout_s = request.timeout_s
        self.deadline_s = timeout_s if timeout_s == math.inf else time.monotonic() + timeout_s
        self.encoding = request.answer_encoding
        self.half_closed = False
        self.window_delta = 0

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the caller says beside gRPC, in the order sent."""
        return self._request.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._request.peer

    @property
    def ended(self) -> bool:
        """Whether it is over for its caller."""
        return not self._writer.has(self)

    def watch(self) -> None:
        """End it when the caller's time is up, also while the model runs. The lane's thread only.

        :attr:`cancelled` is always up to date.
        """
        self._host.watch(self)

    def expire(self) -> None:
        """The caller's time is up."""
        self.cancelled = True
        self._writer.time_out(self)

    def reply(self, message: EncodedMessage) -> None:
        """Answer. Any thread; never blocks."""
        if get_ident() == self._host.thread_id:
            self._writer.respond(self, message)
        else:
            self._host.call_soon(partial(self._writer.respond, self, message))

    def fail(self, error: Exception) -> None:
        """Answer with the status of an error. Any thread; never blocks."""
        if get_ident() == self._host.thread_id:
            self._writer.fail(self, error)
            if isinstance(error, Overloaded):
                self._host.on_overload()
        else:
            self._host.call_soon(partial(self._writer.fail, self, error))

    # What comes of the caller, on the lane's thread.

    def on_data(self, data: bytes, begin: int, end: int, ends: bool) -> None:  # noqa: FBT001  # by position: it is of each call
        """Data came, between two positions; ``ends``: and they were the last."""
        size = end - begin - PREFIX_BYTES
        if (
            not self._received
            and self._assembly is None
            # The prefix of a message that is not compressed is its length in five bytes.
            and 0 <= size == int.from_bytes(data[begin : begin + PREFIX_BYTES]) <= self._host.max_message_bytes
        ):
            # The whole message in one frame, as nearly always.
            self._received = True
            self.half_closed = ends
            self._host.submit(data[begin + PREFIX_BYTES : end], self)
            return
        if not self._received:
            self._feed(memoryview(data)[begin:end])
        if ends:
            self.half_close()

    @property
    def is_receiving(self) -> bool:
        """Whether its message has not come whole, and may still come."""
        return not self._received

    @property
    def missing_bytes(self) -> int:
        """Of its message, as far as that is known."""
        buffer = self.receive_buffer
        return 0 if buffer is None else len(buffer)

    @property
    def receive_buffer(self) -> memoryview | None:
        """Where the next data may be put, told by :meth:`buffer_updated`; None where they come by :meth:`on_data`."""
        return None if self._assembly is None else self._assembly.receive_buffer

    def buffer_updated(self, size: int, *, ends: bool) -> None:
        """So many bytes were put into :attr:`receive_buffer`."""
        if self._assembly is not None:
            self._on_assembled(self._assembly.buffer_updated(size))
        if ends:
            self.half_close()

    def half_close(self) -> None:
        """The caller has sent all it will."""
        self.half_closed = True
        if not self._received:
            self.refuse(InvalidRequest("the call ended without a request message", reason="NO_MESSAGE"))

    def refuse(self, error: Exception) -> None:
        """It cannot go on."""
        self._finish_receiving()
        self._host.refuse(error, self)

    def on_window_update(self, size: int) -> None:
        """The caller takes so many more bytes of the answer."""
        self._writer.increase_window(self, size)

    def on_all_sent(self, window: int) -> None:  # noqa: ARG002  # nothing comes after it
        """What windows held back has been sent: its answer."""
        self._writer.remove(self.id)

    def cancel(self) -> None:
        """The caller has gone away."""
        self.cancelled = True
        if not self._received:
            self._finish_receiving()
            self._host.call_ended()

    def _feed(self, piece: memoryview) -> None:
        """A piece of the message."""
        assembly = self._assembly
        if assembly is None:
            if self._is_refused_early(piece):
                return
            assembly = self._assembly = MessageAssembly(
                self._host.max_message_bytes, self._host.unfinished, self._request.encoding
            )
        was_known = assembly.size >= 0
        try:
            message = assembly.feed(piece)
        except ServerError as error:
            self.refuse(error)
            return
        missing = assembly.size + PREFIX_BYTES - self._window
        if missing > 0 and not was_known:
            self._writer.write(window_update(self.id, missing))
        self._on_assembled(message)

    def _is_refused_early(self, piece: memoryview) -> bool:
        """Whether it was answered by the beginning of its message: the rest need not come."""
        size = int.from_bytes(piece[:PREFIX_BYTES])
        # With the first byte set, which says that it is compressed, the number is larger than any limit.
        if size > self._host.max_message_bytes:
            return False
        self._on_received = self._host.reserve(piece[PREFIX_BYTES:], self, size)
        if not self.ended:
            return False
        self._finish_receiving()
        if size > NARROW_WINDOW_BYTES:
            self._writer.inflow.narrow(self._writer.streams, time.monotonic())
        return True

    def _on_assembled(self, message: memoryview | None) -> None:
        if message is None or self._assembly is None:
            return
        is_compressed = self._assembly.is_compressed
        self._finish_receiving()
        if not is_compressed:
            self._host.submit(message, self)
            return
        try:
            unpacked = decompress(message, self._request.encoding, self._host.max_message_bytes)
        except ServerError as error:
            self._host.refuse(error, self)
        else:
            self._host.submit_now(unpacked, self)

    def _finish_receiving(self) -> None:
        self._received = True
        if self._on_received is not None:
            self._on_received()
            self._on_received = None
        if self._assembly is not None:
            self._assembly.release()
            self._assembly = None
