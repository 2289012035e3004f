"""A session is freed when the lane has just answered, or where nobody asks; its error is the caller's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sardonyx_server.engine.running.deferred_close import close_when_idle
from tests.server.engine.doubles import PATIENCE_S, HandLane

if TYPE_CHECKING:
    from collections.abc import Callable


class _Ending:
    """Only what ends, of a session; notes on which threads it did.

    Args:
        problem: Raised meanwhile.
    """

    def __init__(self, problem: Exception | None = None) -> None:
        self._problem = problem
        self.threads: list[int] = []

    def close(self) -> None:
        """See Session."""
        self.threads.append(threading.get_ident())
        if self._problem is not None:
            raise self._problem


class _ToldLane(HandLane):
    """Says when it has been given a task."""

    def __init__(self) -> None:
        super().__init__()
        self.given = threading.Event()

    def call_when_idle(self, task: Callable[[], None], /) -> None:
        """Keep it, and say so."""
        super().call_when_idle(task)
        self.given.set()


def test_it_ends_on_the_lane_when_that_has_answered() -> None:
    """Not before, and once."""
    session, lane = _Ending(), _ToldLane()
    with ThreadPoolExecutor(1) as drain:
        ended = drain.submit(close_when_idle, session.close, lane, max_wait_s=PATIENCE_S)
        assert lane.given.wait(PATIENCE_S)
        assert session.threads == []
        lane.answered()
        ended.result(PATIENCE_S)
    assert session.threads == [threading.get_ident()]


def test_where_nobody_asks_it_ends_all_the_same() -> None:
    """On the thread that wants it, and the lane has nothing left to do."""
    session, lane = _Ending(), HandLane()
    close_when_idle(session.close, lane, max_wait_s=0.0)
    assert session.threads == [threading.get_ident()]
    lane.answered()
    assert len(session.threads) == 1


def test_what_the_lane_has_begun_is_waited_for() -> None:
    """However long that takes: the thread that wants it neither begins once more nor goes on."""
    lane = _ToldLane()
    begun, go_on = threading.Event(), threading.Event()

    class _Slow(_Ending):
        def close(self) -> None:
            begun.set()
            assert go_on.wait(PATIENCE_S)
            super().close()

    session = _Slow()
    with ThreadPoolExecutor(2) as threads:
        ended = threads.submit(close_when_idle, session.close, lane, max_wait_s=PATIENCE_S)
        assert lane.given.wait(PATIENCE_S)
        threads.submit(lane.answered)
        assert begun.wait(PATIENCE_S)
        assert not ended.done()
        go_on.set()
        ended.result(PATIENCE_S)
    assert len(session.threads) == 1


def test_without_a_lane_it_ends_at_once() -> None:
    """There is nobody to wait for."""
    session = _Ending()
    close_when_idle(session.close, None)
    assert session.threads == [threading.get_ident()]


@pytest.mark.parametrize("lane", [None, HandLane()])
def test_its_error_is_the_callers(lane: HandLane | None) -> None:
    """The lane would end of it, and the server."""
    with pytest.raises(RuntimeError, match="stuck"):
        close_when_idle(_Ending(RuntimeError("stuck")).close, lane, max_wait_s=0.0)


def test_an_error_on_the_lane_is_the_callers_too() -> None:
    """It goes on with its work."""
    lane = _ToldLane()
    with ThreadPoolExecutor(1) as drain:
        ended = drain.submit(close_when_idle, _Ending(RuntimeError("stuck")).close, lane, max_wait_s=PATIENCE_S)
        assert lane.given.wait(PATIENCE_S)
        lane.answered()
        with pytest.raises(RuntimeError, match="stuck"):
            ended.result(PATIENCE_S)
