"""One timer for all who wait in an event loop."""

from __future__ import annotations

import asyncio
import math

from sardonyx_client._coalescing.patience import Patience


class Caller:
    """Waits until a time of the loop's clock."""

    def __init__(self, gives_up_s: float) -> None:
        self.gives_up_s = gives_up_s


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

        patience: Patience[Caller] = Patience(give_up)
        last, first, left, forever = (Caller(now_s + s) for s in (0.02, 0.01, 0.005, math.inf))
        for caller in (forever, last, left, first):
            patience.begin(caller)
        patience.end(left)
        await asyncio.wait_for(over.wait(), 60)
        assert told == [first, last]

    asyncio.run(run())


def test_a_time_that_is_over_is_over_at_the_next_turn() -> None:
    """Several at once, and a call whose limit was 0."""

    async def run() -> None:
        now_s = asyncio.get_running_loop().time()
        told: list[Caller] = []
        patience: Patience[Caller] = Patience(told.append)
        callers = [Caller(now_s - late_s) for late_s in (0.0, 3.0, 1.0)]
        for caller in callers:
            patience.begin(caller)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert set(told) == set(callers)

    asyncio.run(run())


def test_nothing_is_left_in_the_loop_when_nobody_waits() -> None:
    """A timer would keep the client alive for as long as a call may take."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        patience: Patience[Caller] = Patience(lambda _: None)
        caller = Caller(loop.time() + 60)
        patience.begin(caller)
        timer = patience._timer
        assert timer is not None
        patience.end(caller)
        assert timer.cancelled()
        patience.begin(Caller(math.inf))
        assert patience._timer is None

    asyncio.run(run())
