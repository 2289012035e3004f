"""ModelStreamInfer on grpcio's public API: the slow twin of lane/calls/stream.py.

The public API reads and sends by calls that block, so an open stream holds two threads. They are its own, and few: idle
streams keep neither health nor ModelInfer waiting, and one more than that is refused.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import Overloaded, ShuttingDown
from sardonyx_server.rpc.public_call import PublicCall
from sardonyx_server.rpc.status import GRPC_CODES
from sardonyx_server.rpc.stream import Stream, StreamCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import grpc

    from sardonyx_server.engine.intake import Intake
    from sardonyx_server.rpc.access_control import AccessControl

__all__ = ["MAX_STREAMS", "PublicStreams"]

MAX_STREAMS: Final = 64
"""Streams that may be open at a time on the public API."""


class PublicStreams:
    """Opens streams: the behaviour of one method of a grpcio server.

    Args:
        method: Full name of the method.
        make_intake: Makes one intake for each stream.
        access_control: Asked first in every call; None allows all.
        changed: Told when a stream has ended; guards :attr:`open`.
        max_answer_bytes: Largest message that is sent.
        max_streams: How many may be open at a time.

    Attributes:
        open: Streams that are open.
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
        self._streams: set[_PublicStream] = set()
        self._draining = False
        self.open = 0

    def __call__(
        self, messages: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[bytes | None], None]
    ) -> None:
        """Runs on a thread of grpc's pool, which it leaves at once."""
        caller = PublicCall(context)
        intake = self._make_intake()
        stream = _PublicStream(
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
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a status and no detail
            intake.refuse(error, caller)
            caller.answer()  # Raises, as grpc wants it.
        stream.start()

    def drain(self) -> None:
        """As ``Lane.drain``."""
        with self._changed:
            self._draining = True
            streams = tuple(self._streams)
        for stream in streams:
            stream.drain()

    def _keep(self, stream: _PublicStream) -> None:
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

    def _stream_ended(self, stream: _PublicStream) -> None:
        with self._changed:
            self.open -= 1
            self._streams.discard(stream)
            self._changed.notify_all()


class _PublicStream:
    """Drives one stream; see :class:`~sardonyx_server.rpc.stream.Stream` and ``Carrier`` there."""

    def __init__(
        self,
        caller: PublicCall,
        messages: Iterator[bytes],
        context: Any,  # a grpc.ServicerContext, whose stub lacks set_details()
        *,
        send: Callable[[bytes | None], None],
        intake: Intake,
        max_answer_bytes: int,
        on_ended: Callable[[_PublicStream], None],
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
        """When the caller gives the stream up."""
        return self._caller.deadline_s

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        return self._stream.cancelled

    def peer(self) -> str:
        """Address of the caller."""
        return self._caller.peer()

    def start(self) -> None:
        """Begin to read. Once."""
        if not self._context.add_callback(self._abandon):
            self._abandon()
        self._reader.start()  # First: the other one waits for its end.
        self._writer.start()

    def drain(self) -> None:
        """Take no more requests; end when what is in flight is answered. Any thread; never blocks."""
        with self._changed:
            self._stream.drain()
            self._changed.notify_all()

    def settled(self, call: StreamCall) -> None:
        """A request has its answer. Any thread; never blocks."""
        with self._changed:
            self._stream.settle(call)
            self._changed.notify_all()

    def _abandon(self) -> None:
        """The call is over for its caller. On a thread of grpcio's."""
        with self._changed:
            self._stream.abandon()
            self._changed.notify_all()

    def _read(self) -> None:
        """Body of the reading thread."""
        while self._may_read():
            try:
                message = next(self._messages, None)
            except Exception:  # noqa: BLE001  # grpcio's way to say that the call is over: _abandon is told
                break
            self._take_in(message)
            del message  # Kept while the thread waits, it would stay in memory.

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
        """Body of the sending thread, which outlives the other one but for a message that is still awaited."""
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
        """Wait for what is to be sent; None where the call ends."""
        with self._changed:
            while (frame := self._stream.next_frame()) is None and not self._stream.is_over:
                self._changed.wait()
            return frame
