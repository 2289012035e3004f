"""What connections and calls want of the lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sardonyx_server.engine.batching.budget import ByteBudget
    from sardonyx_server.rpc.lane.answers import FailureBlocks
    from sardonyx_server.rpc.lane.call import LaneCall
    from sardonyx_server.rpc.lane.compression import Level
    from sardonyx_server.rpc.lane.held import HeldBytes
    from sardonyx_server.rpc.lane.owner import Owner
    from sardonyx_server.rpc.lane.relay import Relay
    from sardonyx_server.rpc.lane.relayed import Relayed
    from sardonyx_server.rpc.lane.relays import Relays
    from sardonyx_server.rpc.lane.stranger import Strangers
    from sardonyx_server.rpc.lane.stream import LaneStream
    from sardonyx_server.rpc.stream import StreamCall

__all__ = ["Host"]


class Host(Protocol):
    """The lane. All of it on the lane's thread, but for what says so.

    Attributes:
        methods: Full names of those that are the lane's own.
        stopping: The stock server takes no more calls.
        compression: How much work goes into compressing answers.
        max_message_bytes: Largest message that is accepted or sent.
        min_ping_interval_s: Callers that ping more often are cut off.
        unfinished: Bounds the bytes of all messages that are not whole yet.
        held: What callers have not taken yet, on all connections.
        failures: What callers are told of errors.
        strangers: Who speaks something else than HTTP/2.
        thread_id: Of the lane's thread, as ``threading.get_ident`` gives it. Any thread reads it.
    """

    methods: Mapping[bytes, type[LaneCall | LaneStream]]
    stopping: bool
    compression: Level
    max_message_bytes: int
    min_ping_interval_s: float
    unfinished: ByteBudget
    held: HeldBytes
    failures: FailureBlocks
    strangers: Strangers
    thread_id: int

    def later(self, task: Callable[[], None], /) -> None:
        """Have a task run on the lane's thread. Any thread; never blocks."""

    @property
    def share_bytes(self) -> int:
        """How much of what is held each connection may have of its own, where that is too much in all."""
        ...

    def touch(self, owner: Owner, /) -> None:
        """Somebody has something to be written."""

    def relay(self, relays: Relays, /) -> Relay | None:
        """A way to the stock server; None where it takes no more."""

    def begun(self, call: LaneCall | LaneStream, path: bytes, /) -> None:
        """A call of a method came.

        Raises:
            ServerError: It is not allowed.
        """

    def watch(self, call: LaneCall | Relayed, /) -> None:
        """Have a call expire at its deadline."""

    def take_in(self, message: bytes | memoryview, call: LaneCall | StreamCall, /) -> None:
        """A message is whole: it is dealt with at the end of its burst."""

    def take_in_now(self, message: bytes | memoryview, call: LaneCall | StreamCall, /) -> None:
        """A message was compressed. It is admitted or refused at once: many of them would be too much memory."""

    def foresee(self, beginning: memoryview, call: LaneCall, message_bytes: int, /) -> Callable[[], None] | None:
        """Answer a call whose message would be refused, by its beginning.

        Returns:
            To be called when the message has come, or will not come; None where there is no need for that.
        """
        ...

    def refuse(self, error: Exception, call: LaneCall | LaneStream, /) -> None:
        """A call cannot go on: answer it."""

    def overloaded(self) -> None:
        """A call was refused because too much waits."""

    def ended(self) -> None:
        """A call that began is over."""

    def stream_ended(self, stream: LaneStream, /) -> None:
        """A stream that began is over, and the engine has nothing of it any more."""
