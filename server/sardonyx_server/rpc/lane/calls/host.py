"""Interface of the event loop to calls."""

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
    """The lane. Used on the lane's thread, except where a member says otherwise.

    Attributes:
        max_message_bytes: Size limit of a message, received or sent.
        unfinished: Bounds the bytes of all messages that are incomplete.
        send_budget: Counts the unsent bytes of all connections.
        failures: Encodes errors as header blocks.
        thread_id: The id of the lane's thread, as ``threading.get_ident`` gives it. Any thread reads it.
    """

    max_message_bytes: int
    unfinished: ByteBudget
    send_budget: SendBudget
    failures: TrailersOnlyBlocks
    thread_id: int

    def call_soon(self, task: Callable[[], None], /) -> None:
        """Schedule a task on the lane's thread. Any thread; never blocks."""

    @property
    def share_bytes(self) -> int:
        """Unsent bytes that each connection may hold once the send budget is exhausted."""
        ...

    def watch(self, call: LaneCall, /) -> None:
        """Start the deadline timer of a call: it calls ``expire``."""

    def submit(self, message: bytes | memoryview, call: LaneCall | StreamCall, /) -> None:
        """Queue a complete message. It is decoded, and admitted or refused, at the end of its burst."""

    def submit_now(self, message: bytes | memoryview, call: LaneCall | StreamCall, /) -> None:
        """Admit or refuse a decompressed message at once: a burst of them could need too much memory."""

    def reserve(self, beginning: memoryview, call: LaneCall, message_bytes: int, /) -> Callable[[], None] | None:
        """Check admission of a call by the first bytes of its message, and reserve a slot in the queue.

        The call is answered with an error where its message would be refused.

        Returns:
            Releases the slot; to be called when the message has arrived or will not arrive. None = no slot is needed.
        """
        ...

    def refuse(self, error: Exception, call: LaneCall | LaneStream, /) -> None:
        """Fail a call whose message was not submitted, or a stream that cannot begin."""

    def on_overload(self) -> None:
        """A call was refused because of overload."""

    def call_ended(self) -> None:
        """An open call has ended."""

    def stream_ended(self, stream: LaneStream, /) -> None:
        """An open stream has ended, and the engine holds none of its requests."""
