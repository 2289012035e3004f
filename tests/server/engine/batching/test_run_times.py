"""What the last runs say of the next one."""

from __future__ import annotations

import pytest

from sardonyx_server.engine.batching.run_times import RunTimes


def test_nothing_is_expected_before_anything_ran() -> None:
    """A request is never refused for what is not known."""
    assert RunTimes().estimate_s(100.0) == 0.0


def test_a_run_is_expected_to_take_the_second_longest_time_of_the_last_and_half_as_much_again() -> None:
    """Some runs take longer than most, and the answer has a way to go."""
    times = RunTimes()
    for seconds in (0.010, 0.011, 0.012, 0.010, 0.009):
        times.record(seconds, 5.0)
    assert times.estimate_s(5.0) == pytest.approx(0.0165)


def test_only_the_last_eight_count() -> None:
    """A model that has become faster is soon trusted with less time."""
    times = RunTimes()
    for seconds in (1.0, 1.0, *[0.010] * 7):
        times.record(seconds, 5.0)
    assert times.estimate_s(5.0) == pytest.approx(0.015)


def test_one_run_that_was_held_up_changes_nothing() -> None:
    """The first run of a new shape may take seconds."""
    times = RunTimes()
    for seconds in (0.010, 3.0, 0.010, 0.010):
        times.record(seconds, 5.0)
    assert times.estimate_s(5.0) == pytest.approx(0.015)


def test_what_is_long_ago_is_not_expected_any_more() -> None:
    """Or a model that once was slow would refuse all for ever: nothing would run, and nothing be learned."""
    times = RunTimes()
    times.record(1.0, 5.0)
    assert times.estimate_s(6.0) == pytest.approx(1.5)
    assert times.estimate_s(6.6) == 0.0
