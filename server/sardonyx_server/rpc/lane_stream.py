"""One ModelStreamInfer on the lane: an idle stream is an object that waits for an event, and holds no thread.

All of it happens on the lane's thread, so nothing is locked. An answer that another thread gives comes there as the tag
of an operation that does nothing. That is one event, as an answer to a unary call is, and it wakes the lane for the
other answers of the batch (engine/execution.py, HandBack) also where this stream cannot send: its reader may be slow,
or an earlier answer still missing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sardonyx_server.rpc.completion_queue import (
    Event,
    close_operations,
    message_operations,
    receive_operations,
    status_operations,
    wake_operations,
)
from sardonyx_server.rpc.stream import Stream, StreamCall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sardonyx_server.rpc.lane import Lane
    from sardonyx_server.rpc.lane_call import LaneCall

__all__ = ["LaneStream"]


class LaneStream:
    """Drives one stream; see :class:`~sardonyx_server.rpc.stream.Stream` and ``Carrier`` there.

    Args:
        lane: Whose thread this runs on.
        caller: Who called.
        call: grpcio's object of the call.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_call",
        "_caller",
        "_closed",
        "_ended",
        "_finished",
        "_lane",
        "_receiving",
        "_stream",
    )

    def __init__(self, lane: Lane, caller: LaneCall, call: Any) -> None:
        self._lane = lane
        self._caller = caller
        self._call = call
        self._stream = Stream(caller.metadata)
        self._receiving = False
        self._begun = False
        self._finished = False
        self._closed = False
        self._ended = False

    @property
    def deadline_s(self) -> float:
        """When the caller gives the stream up."""
        return self._caller.deadline_s

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for answers any more."""
        return self._stream.cancelled

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Of the call."""
        return self._caller.metadata

    def peer(self) -> str:
        """Address of the caller."""
        return self._caller.peer()

    def open(self) -> None:
        """Begin to read. Once."""
        self._call.start_server_batch(close_operations(), self._on_closed)
        self._advance()

    def drain(self) -> None:
        """Take no more requests; end when what is in flight is answered. Any thread; never blocks."""
        self._call.start_server_batch(wake_operations(), self._on_drain)

    def settled(self, call: StreamCall) -> None:
        """A request has its answer. Any thread; never blocks."""
        if self._lane.is_current_thread():
            self._on_settled(call)
        else:
            self._call.start_server_batch(wake_operations(), partial(self._on_settled, call))

    def _on_message(self, event: Event) -> None:
        """A request has come, or none will come any more."""
        self._receiving = False
        stream = self._stream
        message = event.batch_operations[0].message()
        if message is None:
            stream.complete()
            self._advance()
            return
        call = StreamCall(self, message)
        if stream.take_in(call):
            # First of all the next message is asked for, so that it comes while this one is dealt with.
            self._advance()
            self._lane.take_in(message, call)

    def _on_settled(self, call: StreamCall, _event: Event = None) -> None:
        self._stream.settle(call)
        self._advance()

    def _on_sent(self, _event: Event) -> None:
        """A message has left, or never will: then the close tells."""
        self._stream.sent()
        self._advance()

    def _on_drain(self, _event: Event) -> None:
        self._stream.drain()
        self._advance()

    def _on_closed(self, event: Event) -> None:
        """The call is over for its caller."""
        self._closed = True
        if event.batch_operations[0].cancelled():
            self._stream.abandon()
        self._advance()

    def _on_status_sent(self, _event: Event) -> None:
        """Nothing to do: the close tells."""

    def _advance(self) -> None:
        """Start what may be started now."""
        stream = self._stream
        if self._closed:
            # What the engine has of this stream still comes back, by way of this call's queue.
            if not stream.unanswered and not self._ended:
                self._ended = True
                self._lane.on_stream_ended(self)
            return
        if (frame := stream.next_frame()) is not None:
            self._call.start_server_batch(message_operations(frame, first=not self._begun), self._on_sent)
            self._begun = True
        elif stream.is_over and not self._finished:
            self._finished = True
            self._call.start_server_batch(self._status(), self._on_status_sent)
        if stream.wants_message and not self._receiving:
            self._receiving = True
            self._call.start_server_batch(receive_operations(), self._on_message)

    def _status(self) -> Any:
        failure = self._stream.failure
        first = not self._begun
        if failure is None:
            return status_operations(0, "", None, first=first)
        return status_operations(failure.code, failure.message, failure.trailing, first=first)
