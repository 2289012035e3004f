"""What has come and is not with the models yet: messages of all sockets, dealt with together.

All that the sockets hold is read before any model runs: to dispatch on the first message would give batches of one
although the rest are already there.
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
"""Messages that make a step of their own: enough for a runner that is free to begin with."""

# A steady stream of messages must not keep the models waiting: dispatch at least this often.
_MOST: Final = 256


class RequestIntake(Protocol):
    """Where requests go: :class:`~sardonyx_server.engine.intake.Intake`, or what stands in for it."""

    def accept(self, message: bytes | memoryview, call: Call, received_s: float | None = None, /) -> None:
        """Take one request in."""

    def reserve(self, beginning: memoryview, call: Call, message_bytes: int, /) -> Callable[[], None] | None:
        """Answer a call whose message would be refused, by its beginning.

        Returns:
            To be called when the message has come, or will not come; None where there is no need for that.
        """
        ...

    def refuse(self, error: Exception, call: Rejectable, /) -> None:
        """Answer a request that belongs to no model."""

    def notify_pending(self, model: Model, /) -> None:
        """Look at what waits for a model along with what comes."""

    def wake_early(self) -> None:
        """Wake runners that have enough to do."""

    def wake(self) -> None:
        """Wake runners."""

    def run_waiting(self) -> None:
        """Run what this thread is to run itself."""


class DispatchQueue:
    """On the lane's thread.

    Args:
        requests: Where they go.

    Attributes:
        waiting: Messages that the intake has not got yet, with the time of their arrival.
        accepted: How many it has got since the last dispatch, offers of models counted.
    """

    __slots__ = ("_accepting", "_requests", "accepted", "waiting")

    def __init__(self, requests: RequestIntake) -> None:
        self._requests = requests
        self._accepting = False
        self.waiting: deque[tuple[bytes | memoryview, LaneCall | StreamCall, float]] = deque()
        self.accepted = 0

    @property
    def is_full(self) -> bool:
        """Whether not to look for more."""
        return len(self.waiting) + self.accepted >= _MOST

    def add(self, message: bytes | memoryview, call: LaneCall | StreamCall) -> None:
        """A message is whole."""
        self.waiting.append((message, call, time.monotonic()))

    def add_now(self, message: bytes | memoryview, call: LaneCall | StreamCall) -> None:
        """A message was compressed: it is admitted or refused at once."""
        if self._accepting:
            # The answer to another made room for it: to go on with the others here would nest once for each stream.
            self.accepted += 1
            self._requests.accept(message, call, time.monotonic())
            return
        self.add(message, call)
        self._accept_all()

    def notify_pending(self, model: Model) -> None:
        """A runner has left to this thread what waits for a model."""
        self.accepted += 1
        self._requests.notify_pending(model)

    def take_step(self) -> None:
        """Read and check what has been received. Runners may begin with it; inline models wait for the whole burst."""
        self._accept_all()
        self._requests.wake_early()

    def wake(self) -> None:
        """Read and check all of it, and set runners to work. Before :meth:`dispatch`."""
        self._accept_all()
        self._requests.wake()

    def dispatch(self) -> None:
        """Run what this thread is to run itself. Blocks meanwhile."""
        self.accepted = 0
        self._requests.run_waiting()

    def _accept_all(self) -> None:
        accept, waiting = self._requests.accept, self.waiting
        self._accepting = True
        try:
            while waiting:
                # Taken out first: accept() may come back to this object, with what a stream has next.
                message, call, received_s = waiting.popleft()
                self.accepted += 1
                accept(message, call, received_s)
        finally:
            self._accepting = False
