"""Leader election among threads whose calls are merged (leader/followers). No I/O and no lock: the owner holds one.

KeyboardInterrupt may end any of these steps halfway, and no thread may wait forever after that. So each call is in
exactly one place, which determines its state: in ``waiting``, or in ``leading`` of one of the ``leaders``. A single
operation moves it from one to the other. Anything begun before that operation has no effect, and anything due after it
is repeated by ``_repair``.
"""

from __future__ import annotations

import math
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.batching import count_fitting
from sardonyx_client._errors import ClientError, copy_of

if TYPE_CHECKING:
    from sardonyx_client._coalescing.batching import CoalescableRequest
    from sardonyx_client._options import Coalesce
    from sardonyx_client._values import Result

__all__ = ["Call", "LeaderQueue"]


class Call:
    """One call. Its thread waits until the call completes or it becomes a leader.

    Args:
        request: The request.
        deadline_s: On ``time.monotonic``; None = no limit.

    Attributes:
        request: The request.
        deadline_s: The deadline.
        outcome: Result or error; None until there is one.
        abandoned: Whether its thread no longer waits: the deadline passed, or it was interrupted.
        leads: The calls that its thread must send as one request, itself included; None = it is not a leader.
    """

    __slots__ = ("_wakeups", "abandoned", "deadline_s", "leading", "outcome", "request", "wake")

    def __init__(self, request: CoalescableRequest, deadline_s: float | None) -> None:
        self.request = request
        self.deadline_s = deadline_s
        self.outcome: Result | Exception | None = None
        self.abandoned = False
        self.leading: list[Call] | None = None
        # SimpleQueue is implemented in C; threading.Event is Python, slower, and can be interrupted while half set.
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self.wake = self._wakeups.put

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for a wake-up, which may be spurious. Blocks. Returns False on a timeout."""
        try:
            self._wakeups.get(timeout=timeout_s)
        except Empty:
            return False
        return True

    def complete(self, outcome: Result | Exception) -> None:
        """Set the outcome, and wake the thread."""
        if isinstance(outcome, ClientError):
            outcome = copy_of(outcome, request_id=self.request.request_id)
        self.outcome = outcome
        self.wake(None)


class LeaderQueue:
    """The queue of calls with one batch key.

    Args:
        options: Limits of rows and of requests in flight.

    Attributes:
        waiting: In order of arrival.
        leaders: Calls whose threads have a request in flight, or are about to.
    """

    __slots__ = ("_options", "leaders", "waiting")

    def __init__(self, options: Coalesce) -> None:
        self._options = options
        self.waiting: list[Call] = []
        self.leaders: list[Call] = []

    @property
    def idle(self) -> bool:
        """Whether there is no call."""
        return not self.waiting and not self.leaders

    def join(self, call: Call) -> None:
        """Add a call. It may become a leader at once."""
        self.waiting.append(call)
        self._promote_leaders()

    def finish(self, leader: Call) -> None:
        """The leader's request is complete, and so are its calls: the next leader may start."""
        try:
            leader.leading = None
            self.leaders.remove(leader)
        except BaseException:
            self._repair()
            raise
        self._promote_leaders()

    def abandon(self, call: Call) -> None:
        """Remove a call in any state. Incomplete calls that it led go to the front of the queue."""
        call.abandoned = True
        self._repair()

    def _promote_leaders(self) -> None:
        """Make waiting calls leaders, as many as may be in flight."""
        waiting, leaders = self.waiting, self.leaders
        try:
            while waiting and len(leaders) < self._options.in_flight:
                calls = waiting[: count_fitting(waiting, self._options.max_rows)]
                # The one with the latest deadline: the leader is blocked for as long as any of its calls waits.
                leader = calls[0] if len(calls) == 1 else max(calls, key=_deadline_s)
                leader.leading = calls
                leaders.append(leader)
                del waiting[: len(calls)]
                leader.wake(None)
        except BaseException:
            self._repair()
            raise

    def _repair(self) -> None:
        """Restore a consistent state after a method was interrupted."""
        waiting, leaders = self.waiting, self.leaders
        for call in waiting:
            call.leading = None
        for leader in leaders:
            if leader.abandoned and leader.leading is not None:
                left = [call for call in leader.leading if call.outcome is None and call not in waiting]
                waiting[:0] = left
                for call in leader.leading:
                    call.wake(None)
                leader.leading = None
        waiting[:] = [call for call in waiting if not call.abandoned]
        leaders[:] = [leader for leader in leaders if leader.leading is not None]
        for leader in leaders:
            leader.wake(None)
        self._promote_leaders()


def _deadline_s(call: Call) -> float:
    return math.inf if call.deadline_s is None else call.deadline_s
