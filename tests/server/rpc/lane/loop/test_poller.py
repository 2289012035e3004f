"""Waiting for sockets and for tasks of other threads: what the lane's tests do not come to."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import pytest

if sys.platform != "linux":
    pytest.skip("the lane needs Linux", allow_module_level=True)

from sardonyx_server.rpc.lane.loop.poller import Poller


def test_a_task_that_comes_too_late_wakes_nobody_else() -> None:
    """Another thread had looked whether to wake, and then the descriptor was closed: its number is another's by now."""
    events = Poller(1)
    events._asleep = True
    events.close()
    others = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
    try:
        events.call_soon(lambda: None)
        assert len(events.tasks) == 1
        for other in others:
            with pytest.raises(BlockingIOError):
                os.eventfd_read(other)
    finally:
        for other in others:
            os.close(other)


def test_the_next_deadline_may_be_further_away_than_the_kernel_counts() -> None:
    """A caller chooses it: grpc-timeout has room for 11,000 years, and epoll for 25 days."""
    events = Poller(1)

    def patience_s(_now_s: float) -> float:
        os.eventfd_write(events.waker, 1)
        return 99_999_999 * 3600.0

    assert [fd for fd, _ in events.wait(patience_s)] == [events.waker]
    events.close()


def test_a_task_wakes_the_thread_that_sleeps() -> None:
    """And the next wait has nothing of it."""
    events = Poller(1)
    events._asleep = True
    events.call_soon(lambda: None)
    assert [fd for fd, _ in events.epoll.poll(0)] == [events.waker]
    events.clear_wakeup()
    assert events.epoll.poll(0) == []
    events.close()


def test_a_spare_task_is_done_once_or_taken_back() -> None:
    """Never both."""
    events, done = Poller(1), []
    events.run_idle_task()
    events.call_when_idle(kept := lambda: done.append("kept"))
    events.call_when_idle(taken := lambda: done.append("taken"))
    assert events.cancel_idle_call(taken)
    assert not events.cancel_idle_call(taken)
    events.run_idle_task()
    events.run_idle_task()
    assert done == ["kept"]
    assert not events.cancel_idle_call(kept)
    events.close()


def test_while_requests_are_refused_a_task_wakes_nobody() -> None:
    """What comes during a nap is dealt with after it; a nap is short, also where nothing else is due for ever."""
    events = Poller(1)
    events._busy_until_s = math.inf

    def patience_s(_now_s: float) -> float:
        asking.release()
        return -1.0

    asking = threading.Semaphore(0)
    done: list[str] = []

    def come() -> None:
        asking.acquire()
        events.call_soon(partial(done.append, "come"))

    other = threading.Thread(target=come)
    other.start()
    assert events.wait(patience_s) == []
    other.join()
    assert events.epoll.poll(0) == []
    events.tasks.popleft()()
    assert done == ["come"]
    events.close()


def test_a_nap_does_not_begin_while_there_is_a_task() -> None:
    """Nor does any wait: the patience is not even asked for."""
    events = Poller(1)
    events.refused()
    events.call_soon(lambda: None)

    def patience_s(_now_s: float) -> float:
        raise AssertionError

    assert events.wait(patience_s) == []
    assert len(events.tasks) == 1
    events.close()


class _ComesAtTheLastMoment(deque[Callable[[], None]]):
    """Tasks, of which one comes when the thread has just looked for the last time before it falls asleep."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0

    def __bool__(self) -> bool:
        found = len(self) > 0
        self._looks += 1
        if self._looks == 2:
            # Who adds it saw nobody asleep, and wakes nobody.
            self.append(lambda: None)
        return found


def test_a_task_that_comes_while_the_thread_falls_asleep_is_seen() -> None:
    """Nobody would wake it for that, and the answer that it is would wait for another caller."""
    events = Poller(1)
    events.tasks = _ComesAtTheLastMoment()

    def patience_s(_now_s: float) -> float:
        raise AssertionError

    assert events.wait(patience_s) == []
    assert len(events.tasks) == 1
    events.close()
