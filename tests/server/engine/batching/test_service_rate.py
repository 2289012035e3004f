"""How fast a backlog is worked off, and when that is known."""

from __future__ import annotations

import pytest

from sardonyx_server.engine.batching.service_rate import ServiceRate


def taken(rate: ServiceRate, batches: int, *, rows: int, every_s: float, from_s: float = 50.0) -> None:
    """So many batches are given out one after the other."""
    for number in range(batches):
        rate.batch_taken(rows, from_s + number * every_s)


def test_four_batches_say_nothing() -> None:
    """One that was held up would decide."""
    rate = ServiceRate()
    taken(rate, 4, rows=1, every_s=1.0)
    assert rate.row_s == 0.0


@pytest.mark.parametrize("rows", [1, 8])
def test_it_is_the_time_between_batches_for_each_of_their_rows(rows: int) -> None:
    """However many runners share them."""
    rate = ServiceRate()
    taken(rate, 5, rows=rows, every_s=0.02)
    assert rate.row_s == pytest.approx(0.02 / rows)


def test_only_the_last_seventeen_count() -> None:
    """What was fast once is no longer, and the other way round."""
    rate = ServiceRate()
    taken(rate, 40, rows=4, every_s=1.0)
    taken(rate, 17, rows=1, every_s=0.01, from_s=100.0)
    assert rate.row_s == pytest.approx(0.01)


def test_a_pause_is_not_counted_and_what_was_found_holds_on() -> None:
    """A runner that waits for work is not slow."""
    rate = ServiceRate()
    taken(rate, 5, rows=1, every_s=0.02)
    rate.runner_idle()
    rate.batch_taken(1, 900.0)
    assert rate.row_s == pytest.approx(0.02)
    taken(rate, 5, rows=1, every_s=0.03, from_s=1000.0)
    rate.runner_idle()
    taken(rate, 5, rows=1, every_s=0.04, from_s=2000.0)
    assert rate.row_s == pytest.approx(0.04)


def test_what_was_found_when_all_was_slow_does_not_hold_once_a_run_is_faster() -> None:
    """Or few would be let come for ever, and no backlog would ever say better."""
    rate = ServiceRate()
    taken(rate, 5, rows=1, every_s=2.0)
    rate.batch_finished(4, 1.0)
    assert rate.row_s == pytest.approx(0.25)
    rate.batch_finished(1, 3.0)
    assert rate.row_s == pytest.approx(0.25)


def test_a_run_alone_says_nothing() -> None:
    """Several runners, or larger batches, may be faster than that."""
    rate = ServiceRate()
    rate.batch_finished(1, 3.0)
    assert rate.row_s == 0.0
