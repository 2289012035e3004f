"""One timer for all who wait in an event loop."""

from __future__ import annotations

import asyncio
import math

from sardonyx_client._coalescing.deadline_timer import DeadlineTimer


class Caller:
    """Waits until a time of the loop's clock."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s


def test_each_caller_gives_up_at_its_own_time() -> None:
    """In the order of their times, not in that in which they came; whoever has left is not told."""

    async def run() -> None:
        now_s = asyncio.get_running_loop().time()
        told: list[Caller] = []
        over = asyncio.Event()

        def give_up(caller: Caller) -> None:
            told.append(caller)
            if caller is last:
                over.set()

        timer: DeadlineTimer[Caller] = DeadlineTimer(give_up)
        last, first, left, forever = (Caller(now_s + s) for s in (0.02, 0.01, 0.005, math.inf))
        for caller in (forever, last, left, first):
            timer.add(caller)
        timer.remove(left)
        await asyncio.wait_for(over.wait(), 60)
        assert told == [first, last]

    asyncio.run(run())


def test_a_time_that_is_over_is_over_at_the_next_turn() -> None:
    """Several at once, and a call whose limit was 0."""

    async def run() -> None:
        now_s = asyncio.get_running_loop().time()
        told: list[Caller] = []
        timer: DeadlineTimer[Caller] = DeadlineTimer(told.append)
        callers = [Caller(now_s - late_s) for late_s in (0.0, 3.0, 1.0)]
        for caller in callers:
            timer.add(caller)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert set(told) == set(callers)

    asyncio.run(run())


def test_nothing_is_left_in_the_loop_when_nobody_waits() -> None:
    """A timer would keep the client alive for as long as a call may take."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        timer: DeadlineTimer[Caller] = DeadlineTimer(lambda _: None)
        caller = Caller(loop.time() + 60)
        timer.add(caller)
        handle = timer._timer
        assert handle is not None
        timer.remove(caller)
        assert handle.cancelled()
        timer.add(Caller(math.inf))
        assert timer._timer is None

    asyncio.run(run())
