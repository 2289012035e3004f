"""What calls need of the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.byte_budget import ByteBudget
    from sardonyx_server.rpc.lane.calls.call import LaneCall
    from sardonyx_server.rpc.lane.calls.stream import LaneStream
    from sardonyx_server.rpc.lane.flow_control.send_budget import SendBudget
    from sardonyx_server.rpc.lane.messages.response_frames import TrailersOnlyBlocks
    from sardonyx_server.rpc.stream import StreamCall

__all__ = ["CallHost"]


class CallHost(Protocol):
    """The lane. All of it on the lane's thread, but for what says so.

    Attributes:
        max_message_bytes: Largest message that is accepted or sent.
        unfinished: Bounds the bytes of all messages that are not whole yet.
        send_budget: Counts the unsent bytes of all connections.
        failures: What callers are told of errors.
        thread_id: Of the lane's thread, as ``threading.get_ident`` gives it. Any thread reads it.
    """

    max_message_bytes: int
    unfinished: ByteBudget
    send_budget: SendBudget
    failures: TrailersOnlyBlocks
    thread_id: int

    def call_soon(self, task: Callable[[], None], /) -> None:
        """Have a task run on the lane's thread. Any thread; never blocks."""

    @property
    def share_bytes(self) -> int:
        """How much of what is held each connection may have of its own, where that is too much in all."""
        ...

    def watch(self, call: LaneCall, /) -> None:
        """Have a call expire at its deadline."""

    def submit(self, message: bytes | memoryview, call: LaneCall | StreamCall, /) -> None:
        """A message is whole: it is dealt with at the end of its burst."""

    def submit_now(self, message: bytes | memoryview, call: LaneCall | StreamCall, /) -> None:
        """A message was compressed. It is admitted or refused at once: many of them would be too much memory."""

    def reserve(self, beginning: memoryview, call: LaneCall, message_bytes: int, /) -> Callable[[], None] | None:
        """Answer a call whose message would be refused, by its beginning.

        Returns:
            To be called when the message has come, or will not come; None where there is no need for that.
        """
        ...

    def refuse(self, error: Exception, call: LaneCall | LaneStream, /) -> None:
        """A call cannot go on: answer it."""

    def on_overload(self) -> None:
        """A call was refused because too much waits."""

    def call_ended(self) -> None:
        """A call that began is over."""

    def stream_ended(self, stream: LaneStream, /) -> None:
        """A stream that began is over, and the engine has nothing of it any more."""
