"""ModelStreamInfer on grpcio's public API: the slower counterpart of lane/calls/stream.py.

The public API reads and sends with blocking calls, so each open stream has two threads of its own. Idle streams
therefore delay neither health checks nor ModelInfer. The number of open streams is limited; further ones are refused.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import Overloaded, ShuttingDown
from sardonyx_server.rpc.grpcio_call import GrpcioCall
from sardonyx_server.rpc.status import GRPC_CODES
from sardonyx_server.rpc.stream import Stream, StreamCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import grpc

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.access_control import AccessControl

__all__ = ["MAX_STREAMS", "GrpcioStreams"]

MAX_STREAMS: Final = 64
"""Maximum number of open streams on grpcio's public API."""


class GrpcioStreams:
    """Opens the streams of one method of a grpcio server: its behaviour, in grpc's terms.

    Args:
        method: Full name of the method.
        make_intake: Makes one intake for each stream.
        access_control: Checked first in every call; None allows every call.
        changed: Notified when a stream has ended; guards :attr:`open`.
        max_answer_bytes: Size of the largest message that is sent.
        max_streams: Maximum number of open streams.

    Attributes:
        open: Number of open streams.
    """

    experimental_non_blocking = True  # grpc: the behaviour returns at once and sends by callback

    def __init__(
        self,
        *,
        method: str,
        make_intake: Callable[[], Intake],
        access_control: AccessControl | None,
        changed: threading.Condition,
        max_answer_bytes: int,
        max_streams: int,
    ) -> None:
        self._method = method
        self._make_intake = make_intake
        self._access_control = access_control
        self._changed = changed
        self._max_answer_bytes = max_answer_bytes
        self._max_streams = max_streams
        self._streams: set[_GrpcioStream] = set()
        self._draining = False
        self.open = 0

    def __call__(
        self, messages: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[bytes | None], None]
    ) -> None:
        """Open one stream. Runs on a thread of grpc's pool and returns at once."""
        caller = GrpcioCall(context)
        intake = self._make_intake()
        stream = _GrpcioStream(
            caller,
            messages,
            context,
            send=send,
            intake=intake,
            max_answer_bytes=self._max_answer_bytes,
            on_ended=self._stream_ended,
        )
        try:
            if self._access_control is not None:
                self._access_control.check(self._method, caller.metadata, caller.peer())
            self._keep(stream)
        except Exception as error:  # noqa: BLE001  # the caller gets a status and no internal detail
            intake.refuse(error, caller)
            caller.answer()  # Raises; grpc then ends the call.
        stream.start()

    def drain(self) -> None:
        """Refuse new streams and drain the open ones; see ``Lane.drain``."""
        with self._changed:
            self._draining = True
            streams = tuple(self._streams)
        for stream in streams:
            stream.drain()

    def _keep(self, stream: _GrpcioStream) -> None:
        with self._changed:
            if self._draining:
                raise ShuttingDown("the server is stopping and takes no new streams; go to another server")
            if self.open >= self._max_streams:
                raise Overloaded(
                    f"{self.open} streams are open, the most this server keeps on grpcio's public API; end one, call "
                    "ModelInfer for each request, or have the operator serve with --transport lane"
                )
            self.open += 1
            self._streams.add(stream)

    def _stream_ended(self, stream: _GrpcioStream) -> None:
        with self._changed:
            self.open -= 1
            self._streams.discard(stream)
            self._changed.notify_all()


class _GrpcioStream:
    """Drives one stream. Implements :class:`~sardonyx_server.rpc.stream.StreamDriver`."""

    def __init__(
        self,
        caller: GrpcioCall,
        messages: Iterator[bytes],
        context: Any,  # a grpc.ServicerContext; its type stub lacks set_details()
        *,
        send: Callable[[bytes | None], None],
        intake: Intake,
        max_answer_bytes: int,
        on_ended: Callable[[_GrpcioStream], None],
    ) -> None:
        self._caller = caller
        self._messages = messages
        self._context = context
        self._send = send
        self._intake = intake
        self.max_answer_bytes = max_answer_bytes
        self._on_ended = on_ended
        self.metadata: Sequence[tuple[str, str | bytes]] = caller.metadata
        self._stream = Stream(self.metadata)
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="stream-read", daemon=True)
        self._writer = threading.Thread(target=self._write, name="stream-write", daemon=True)

    @property
    def deadline_s(self) -> float:
        """Deadline of the stream, on ``time.monotonic``."""
        return self._caller.deadline_s

    @property
    def cancelled(self) -> bool:
        """Whether no answer is wanted any more."""
        return self._stream.cancelled

    def peer(self) -> str:
        """Address of the caller."""
        return self._caller.peer()

    def start(self) -> None:
        """Start the threads. Requires: called once."""
        if not self._context.add_callback(self._abandon):
            self._abandon()
        self._reader.start()  # First, since the writer joins it.
        self._writer.start()

    def drain(self) -> None:
        """Accept no more requests; end once those in flight are answered. Any thread; never blocks."""
        with self._changed:
            self._stream.drain()
            self._changed.notify_all()

    def settled(self, call: StreamCall) -> None:
        """A request has its answer; send it when its turn comes. Any thread; never blocks."""
        with self._changed:
            self._stream.settle(call)
            self._changed.notify_all()

    def _abandon(self) -> None:
        """The call has ended for its caller. Called on a thread of grpcio."""
        with self._changed:
            self._stream.abandon()
            self._changed.notify_all()

    def _read(self) -> None:
        """Read requests. Runs on the reading thread."""
        while self._may_read():
            try:
                message = next(self._messages, None)
            except Exception:  # noqa: BLE001  # grpcio raises when the call has ended, and calls _abandon
                break
            self._take_in(message)
            del message  # Otherwise it would stay in memory while the thread waits.

    def _may_read(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stream.wants_message or not self._stream.takes_messages)
            return self._stream.takes_messages

    def _take_in(self, message: bytes | None) -> None:
        with self._changed:
            if message is None:
                self._stream.complete()
                self._changed.notify_all()
                return
            call = StreamCall(self, message)
            taken = self._stream.take_in(call)
        if taken:
            self._intake.accept(message, call)
            self._intake.run_waiting()

    def _write(self) -> None:
        """Send answers, then the status. Runs on the sending thread, which joins the reading thread at the end."""
        while (frame := self._next_frame()) is not None:
            self._send(frame)  # Blocks while the caller does not read.
            with self._changed:
                self._stream.sent()
                self._changed.notify_all()
        if (failure := self._stream.failure) is not None:
            self._context.set_trailing_metadata(failure.trailing)
            self._context.set_code(GRPC_CODES[failure.code])
            self._context.set_details(failure.message)
        self._send(None)
        self._reader.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._stream.unanswered)
        self._on_ended(self)

    def _next_frame(self) -> bytes | None:
        """Wait for the next answer to send. Blocks; None when the stream is over."""
        with self._changed:
            while (frame := self._stream.next_frame()) is None and not self._stream.is_over:
                self._changed.wait()
            return frame
