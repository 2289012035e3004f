"""The simulated queue with the times of a server's own runs."""

from __future__ import annotations

import pytest

from bench.store import Load, Point
from bench.suite.queue_replay import due_s, replayed_p99_s

SELDOM = Load(arrivals="constant", rate_per_s=100.0)
OFTEN = Load(arrivals="constant", rate_per_s=1000.0)
ONE_RUNNER = {"runners": 1, "threads": 1, "max_rows": 8}


def test_what_never_waits_takes_a_run() -> None:
    """Requests every 10 ms, runs of 2 ms."""
    assert replayed_p99_s(Point(load=SELDOM, batch_run_us={"1": 2000.0}), ONE_RUNNER) == pytest.approx(0.002)


def test_runs_between_those_that_were_seen_take_as_long_as_lies_between() -> None:
    """Three requests at once, ten times a second: of a run of three nothing is known."""
    bursts = Load(arrivals="burst", rate_per_s=30.0)
    found = replayed_p99_s(Point(load=bursts, batch_run_us={"2": 2500.0, "4": 3500.0}), ONE_RUNNER)
    assert found == pytest.approx(0.003)


@pytest.mark.parametrize(("runners", "waits"), [(0, True), (1, True), (2, False)])
def test_as_many_runs_at_once_as_the_server_has_runners(runners: int, waits: bool) -> None:
    """None is the lane's thread: one at a time. Runs of one row take 1.5 ms, and a request comes every millisecond."""
    point = Point(load=OFTEN, batch_run_us={"1": 1500.0})
    found = replayed_p99_s(point, {"runners": runners, "threads": 1, "max_rows": 0})
    assert found is not None
    assert (found > 1.0) is waits


@pytest.mark.parametrize(
    ("point", "facts"),
    [(Point(load=OFTEN), ONE_RUNNER), (Point(load=OFTEN, batch_run_us={"1": 1.0}), {})],
    ids=["runs", "runners"],
)
def test_a_server_that_does_not_tell_of_its_runs_has_no_such_queue(point: Point, facts: dict[str, int]) -> None:
    """An echo has none."""
    assert replayed_p99_s(point, facts) is None


def test_arrivals_are_those_of_the_load() -> None:
    """Enough of them for a percentile."""
    found = due_s(SELDOM, 3)
    assert len(found) == pytest.approx(20_000, abs=1)
    assert found[1] - found[0] == pytest.approx(0.01)
