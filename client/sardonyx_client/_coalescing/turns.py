"""Which threads wait to be joined, and which of them lead. No I/O, and no lock: whoever owns it has one.

A keyboard interrupt may end any of these steps in its midst, and nobody may wait for ever then. So each call is in one
place only, and that decides: in ``waiting``, or among those that one of the ``leaders`` leads. It goes from one to the
other by a single step. What was begun before that step counts for nothing, and what is due after it is done once more.
"""

from __future__ import annotations

import math
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from sardonyx_client._coalescing.rules import how_many_fit
from sardonyx_client._errors import ClientError, copy_of

if TYPE_CHECKING:
    from sardonyx_client._coalescing.rules import Joinable
    from sardonyx_client._options import Coalesce
    from sardonyx_client._values import Result

__all__ = ["Call", "Turns"]


class Call:
    """One caller, which sleeps until it is answered or told to lead.

    Args:
        asks: What it asks.
        gives_up_s: When, on ``time.monotonic``; None = never.

    Attributes:
        asks: As given.
        gives_up_s: As given.
        answer: None until there is one.
        gone: It gave up, or was interrupted.
        leads: The calls that it shall send together, itself among them; None where it does not lead.
    """

    __slots__ = ("_woken", "answer", "asks", "gives_up_s", "gone", "leads", "wake")

    def __init__(self, asks: Joinable, gives_up_s: float | None) -> None:
        self.asks = asks
        self.gives_up_s = gives_up_s
        self.answer: Result | Exception | None = None
        self.gone = False
        self.leads: list[Call] | None = None
        # In C, each way: an event is Python, which takes longer and may be interrupted half set.
        self._woken: SimpleQueue[None] = SimpleQueue()
        self.wake = self._woken.put

    def sleep(self, most_s: float | None) -> bool:
        """Wait to be woken, which may be for nothing. Blocks. Returns whether it was, within the time."""
        try:
            self._woken.get(timeout=most_s)
        except Empty:
            return False
        return True

    def finish(self, answer: Result | Exception) -> None:
        """Give it its part."""
        if isinstance(answer, ClientError):
            answer = copy_of(answer, request_id=self.asks.request_id)
        self.answer = answer
        self.wake(None)


class Turns:
    """Of calls of one form.

    Args:
        options: How many may join, and be under way.

    Attributes:
        waiting: In the order in which they came.
        leaders: Each has one request under way, or is about to.
    """

    __slots__ = ("_options", "leaders", "waiting")

    def __init__(self, options: Coalesce) -> None:
        self._options = options
        self.waiting: list[Call] = []
        self.leaders: list[Call] = []

    @property
    def over(self) -> bool:
        """Whether nobody waits or leads."""
        return not self.waiting and not self.leaders

    def join(self, call: Call) -> None:
        """Have a call wait, or lead where that is free."""
        self.waiting.append(call)
        self._appoint()

    def next(self, leader: Call) -> None:
        """A request has ended, and those it was for have their answers: whoever waits may lead."""
        try:
            leader.leads = None
            self.leaders.remove(leader)
        except BaseException:
            self._mend()
            raise
        self._appoint()

    def leave(self, call: Call) -> None:
        """A call leaves, whatever it was at: those it led and that have no answer are the first of the next request."""
        call.gone = True
        self._mend()

    def _appoint(self) -> None:
        """Have those that wait lead, as many as may."""
        waiting, leaders = self.waiting, self.leaders
        try:
            while waiting and len(leaders) < self._options.in_flight:
                calls = waiting[: how_many_fit(waiting, self._options.max_rows)]
                # The one with the most time: who leads is held up for as long as any of them waits.
                leader = calls[0] if len(calls) == 1 else max(calls, key=_gives_up_s)
                leader.leads = calls
                leaders.append(leader)
                del waiting[: len(calls)]
                leader.wake(None)
        except BaseException:
            self._mend()
            raise

    def _mend(self) -> None:
        """Make whole what a step of this class left half done."""
        waiting, leaders = self.waiting, self.leaders
        for call in waiting:
            call.leads = None
        for leader in leaders:
            if leader.gone and leader.leads is not None:
                left = [call for call in leader.leads if call.answer is None and call not in waiting]
                waiting[:0] = left
                for call in leader.leads:
                    call.wake(None)
                leader.leads = None
        waiting[:] = [call for call in waiting if not call.gone]
        leaders[:] = [leader for leader in leaders if leader.leads is not None]
        for leader in leaders:
            leader.wake(None)
        self._appoint()


def _gives_up_s(call: Call) -> float:
    return math.inf if call.gives_up_s is None else call.gives_up_s
