"""Waiting on behalf of a caller: for as long as it is there, and no longer."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.errors import Cancelled, DeadlineExceeded, NotFound
from sardonyx_server.rpc.other_rpcs.behaviours import FutureWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

# What grpc says is left where the caller set no deadline.
NO_DEADLINE_S = 9.2e18


class Context:
    """A call: its caller leaves when the test says so, and at once where ``present`` is False."""

    def __init__(self, *, left_s: float = NO_DEADLINE_S, present: bool = True) -> None:
        self.left_s = left_s
        self.present = present
        self.leave: Callable[[], None] = lambda: None
        self.waits = threading.Event()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Keep what is to be called when the call ends."""
        self.leave = callback
        return self.present

    def time_remaining(self) -> float:
        """Tell that somebody is about to wait."""
        self.waits.set()
        return self.left_s


def wait_for(context: Any, outcome: Future[int]) -> int:
    """Wait as a behaviour does."""
    return FutureWaiter(context)(outcome)


def test_an_outcome_that_is_there_is_given_back() -> None:
    """Value or error."""
    good: Future[int] = Future()
    good.set_result(7)
    assert wait_for(Context(), good) == 7
    bad: Future[int] = Future()
    bad.set_exception(NotFound("no"))
    with pytest.raises(NotFound, match=r"^no$"):
        wait_for(Context(), bad)


def test_an_outcome_is_waited_for_without_end_where_there_is_no_deadline() -> None:
    """It comes from another thread."""
    context, outcome = Context(), Future[int]()

    def answer() -> None:
        assert context.waits.wait(60)
        outcome.set_result(7)

    thread = threading.Thread(target=answer)
    thread.start()
    assert wait_for(context, outcome) == 7
    thread.join()


@pytest.mark.parametrize("begun", [False, True])
def test_what_had_not_begun_when_the_caller_left_will_not(begun: bool) -> None:
    """What had goes on."""
    outcome: Future[int] = Future()
    if begun:
        outcome.set_running_or_notify_cancel()
    text = "has begun, and goes on" if begun else "had not begun, and will not"
    with pytest.raises(Cancelled, match=f"^the caller went away; what it asked for {text}$"):
        wait_for(Context(present=False), outcome)
    assert outcome.cancelled() is not begun
    with pytest.raises(DeadlineExceeded, match=r"^the caller's deadline passed; what it asked for "):
        wait_for(Context(left_s=0.0), Future())


def test_a_caller_that_leaves_ends_the_wait() -> None:
    """The thread is free at once."""
    context, outcome = Context(), Future[int]()

    def leave() -> None:
        assert context.waits.wait(60)
        context.leave()

    thread = threading.Thread(target=leave)
    thread.start()
    with pytest.raises(Cancelled):
        wait_for(context, outcome)
    thread.join()
    assert outcome.cancelled()
