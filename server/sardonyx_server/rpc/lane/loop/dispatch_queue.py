"""Queue of the messages that have arrived on all sockets and are not dispatched to the models yet.

The lane reads everything that the sockets hold before any model runs. Dispatch upon the first message would give
batches of one although the other messages have already arrived.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.call import Call, Rejectable
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.rpc.lane.calls.call import LaneCall
    from sardonyx_server.rpc.stream import StreamCall

__all__ = ["STEP", "DispatchQueue", "RequestIntake"]

STEP: Final = 16
"""Number of messages that are admitted before the rest of the burst arrives: enough for an idle runner to begin."""

# Dispatch after this many messages, so that a steady flow of messages cannot keep the models waiting.
_MOST: Final = 256


class RequestIntake(Protocol):
    """Receives the requests: :class:`~sardonyx_server.engine.intake.Intake`, or a substitute."""

    def accept(self, message: bytes | memoryview, call: Call, received_s: float | None = None, /) -> None:
        """Accept one request."""

    def reserve(self, beginning: memoryview, call: Call, message_bytes: int, /) -> Callable[[], None] | None:
        """Refuse a call by the beginning of its message if the complete message would be refused; else reserve a slot.

        Returns:
            A function to call once the message has arrived or will not arrive; None if that is not needed.
        """
        ...

    def refuse(self, error: Exception, call: Rejectable, /) -> None:
        """Answer a request that belongs to no model with an error."""

    def notify_pending(self, model: Model, /) -> None:
        """Consider the requests that wait for a model along with new ones."""

    def wake_early(self) -> None:
        """Wake the runners of models that have a full microbatch."""

    def wake(self) -> None:
        """Wake the runners of models that got requests."""

    def run_waiting(self) -> None:
        """Run the models that run on this thread."""


class DispatchQueue:
    """Collects the messages of one turn. Used on the lane's thread.

    Args:
        requests: Receives them.

    Attributes:
        waiting: Messages that were not passed to the intake yet, with their calls and times of arrival.
        accepted: Messages that were passed to it since the last dispatch, plus notifications of models.
    """

    __slots__ = ("_accepting", "_requests", "accepted", "waiting")

    def __init__(self, requests: RequestIntake) -> None:
        self._requests = requests
        self._accepting = False
        self.waiting: deque[tuple[bytes | memoryview, LaneCall | StreamCall, float]] = deque()
        self.accepted = 0

    @property
    def is_full(self) -> bool:
        """Whether to dispatch before the sockets are read again."""
        return len(self.waiting) + self.accepted >= _MOST

    def add(self, message: bytes | memoryview, call: LaneCall | StreamCall) -> None:
        """Add a complete message."""
        self.waiting.append((message, call, time.monotonic()))

    def add_now(self, message: bytes | memoryview, call: LaneCall | StreamCall) -> None:
        """Add a message that was compressed: it is admitted or refused at once."""
        if self._accepting:
            # Called from within _accept_all(): the response to another message made room for this one. A nested
            # _accept_all() would recurse once for each stream.
            self.accepted += 1
            self._requests.accept(message, call, time.monotonic())
            return
        self.add(message, call)
        self._accept_all()

    def notify_pending(self, model: Model) -> None:
        """A runner has left the requests that wait for a model to this thread."""
        self.accepted += 1
        self._requests.notify_pending(model)

    def take_step(self) -> None:
        """Decode and check the waiting messages. Runners may begin; inline models wait for the whole burst."""
        self._accept_all()
        self._requests.wake_early()

    def wake(self) -> None:
        """Decode and check the waiting messages, and wake the runners. Call before :meth:`dispatch`."""
        self._accept_all()
        self._requests.wake()

    def dispatch(self) -> None:
        """Run the models that run on this thread. Blocks until they have run."""
        self.accepted = 0
        self._requests.run_waiting()

    def _accept_all(self) -> None:
        accept, waiting = self._requests.accept, self.waiting
        self._accepting = True
        try:
            while waiting:
                # Removed first, because accept() may call this object again with the next message of a stream.
                message, call, received_s = waiting.popleft()
                self.accepted += 1
                accept(message, call, received_s)
        finally:
            self._accepting = False
