"""A thread of low priority is made to yield while it says so, by a timer of the kernel's that is gone afterwards."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

from sardonyx_server.engine.giving_way import giving_way
from sardonyx_server.engine.priority import lower_priority

_TIMERS = Path("/proc/self/timers")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not _TIMERS.exists(), reason="this kernel does not tell of timers"
)


def _timers() -> list[str]:
    """Of the calling thread: the signal of each, by the kernel's own list."""
    blocks = _TIMERS.read_text().split("ID:")
    own = f"notify: signal/tid.{threading.get_native_id()}"
    return [line.split()[1].split("/")[0] for block in blocks if own in block for line in block.splitlines()[1:2]]


def _in_a_thread(told: list[list[str]], *, lowered: bool) -> None:
    """Append what timers there are before, meanwhile and afterwards. A lowered thread cannot be raised again."""

    def run() -> None:
        if lowered:
            lower_priority()
        told.append(_timers())
        with giving_way():
            told.append(_timers())
            # Interrupted many times, and done all the same.
            assert sum(range(1_000_000)) == 499_999_500_000
            assert Path(__file__).read_bytes()
        told.append(_timers())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_a_thread_of_low_priority_has_a_timer_while_it_gives_way() -> None:
    """And does its work to the end."""
    told: list[list[str]] = []
    _in_a_thread(told, lowered=True)
    assert told == [[], [str(signal.SIGRTMAX - 1)], []]


def test_a_thread_of_normal_priority_has_none() -> None:
    """It has its turn like all others."""
    told: list[list[str]] = []
    _in_a_thread(told, lowered=False)
    assert told == [[], [], []]


def test_the_timer_ends_with_an_error_too() -> None:
    """Or the thread would be interrupted for the rest of its life."""
    told: list[list[str]] = []

    def run() -> None:
        lower_priority()
        with pytest.raises(ValueError, match="invalid literal"), giving_way():
            int("no number")
        told.append(_timers())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told == [[]]


def test_a_signal_that_the_process_uses_is_left_alone() -> None:
    """Its handler is not replaced, and hears nothing."""
    number = signal.SIGRTMAX - 1
    heard: list[int] = []
    before = signal.signal(number, lambda number, _frame: heard.append(number))
    try:
        told: list[list[str]] = []
        _in_a_thread(told, lowered=True)
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert told == [[], [], []]
    assert heard == [number]
