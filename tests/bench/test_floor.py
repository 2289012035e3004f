"""The simulated greedy queue: what it does is reckoned by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.limits.floor import p99_s, sojourns_s, with_transport_s
from bench.limits.greedy_queue import run_greedy_queue
from bench.limits.in_process import Costs, best
from bench.store import Load, Point
from bench.suite.floors import consistent_floors
from tests.server.load.fakes import report

IRIS = Path(__file__).parents[2] / "models" / "iris" / "1" / "model.onnx"


def one_second_and_a_tenth_a_row(rows: int) -> float:
    """S(b)."""
    return 1.0 + 0.1 * rows


def sojourns(*arrivals_s: float, runners: int = 1, max_rows: int = 8) -> list[float]:
    """With these arrivals."""
    found = sojourns_s(arrivals_s, one_second_and_a_tenth_a_row, runners=runners, max_rows=max_rows)
    return [round(float(each), 6) for each in found]


def test_a_request_alone_takes_one_run() -> None:
    """Nobody waits, whatever lies between two."""
    assert sojourns(0.0, 10.0) == [1.1, 1.1]


def test_all_that_waits_joins_the_next_run() -> None:
    """Two come while the first runs, to 1.1; together they end at 1.1 + 1.2."""
    assert sojourns(0.0, 0.5, 1.0) == [1.1, 1.8, 1.3]


def test_a_run_takes_no_more_than_it_may() -> None:
    """The third of those that wait comes into a run of its own."""
    assert sojourns(0.0, 0.1, 0.1, 0.1, max_rows=2) == [1.1, 2.2, 2.2, 3.3]


def test_a_free_runner_takes_what_comes() -> None:
    """With two runners the second request does not wait for the first."""
    assert sojourns(0.0, 0.5, runners=2) == [1.1, 1.1]


def test_nobody_waits_for_more_to_come() -> None:
    """Greedy: the first request is not held back for one that comes a moment later."""
    assert sojourns(0.0, 0.001) == [1.1, 2.199]


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=60),
    st.integers(1, 3),
    st.integers(1, 8),
)
def test_no_request_ends_before_a_run_of_its_own_would(gaps_s: list[float], runners: int, max_rows: int) -> None:
    """And none is forgotten."""
    arrivals_s = np.cumsum(gaps_s).tolist()
    found = sojourns_s(arrivals_s, one_second_and_a_tenth_a_row, runners=runners, max_rows=max_rows)
    assert len(found) == len(arrivals_s)
    assert found.min() >= 1.1 - 1e-9


def test_transport_comes_on_top() -> None:
    """An echo that always takes 2 ms moves every time by 2 ms."""
    echo = report({0.002: 100}).latencies
    moved = with_transport_s(np.array([0.1, 0.2]), echo, seed=1)
    assert moved.tolist() == pytest.approx([0.102, 0.202], rel=1e-3)


def ladder(*found: tuple[float, float | None, bool]) -> list[float | None]:
    """Floors of points of ascending rates, each with the p99 reached, its floor, and whether it counts."""
    points = [
        Point(load=Load(), answered=1000, p99_ms=p99_ms, floor_p99_ms=floor_ms, valid=valid)
        for p99_ms, floor_ms, valid in found
    ]
    return [point.floor_p99_ms for point in consistent_floors(points)]


def test_no_floor_is_above_one_at_a_higher_rate() -> None:
    """Its echo was disturbed. Where only a lower rate has a floor, a higher one has none."""
    assert ladder((9.0, 5.0, True), (9.0, 2.0, True), (9.0, 3.0, True)) == [2.0, 2.0, 3.0]
    assert ladder((9.0, 1.0, True), (9.0, None, True)) == [1.0, None]


def test_what_the_server_went_below_is_no_floor() -> None:
    """At that rate or a higher one; a point that does not count refutes nothing, and none makes a floor."""
    assert ladder((2.0, 3.0, True), (1.5, 3.0, True)) == [1.5, 1.5]
    assert ladder((2.0, 3.0, True), (0.5, 3.0, False)) == [2.0, 3.0]
    assert ladder((2.0, None, True)) == [None]


def test_p99_of_nothing_is_nothing() -> None:
    """A load at which no request was due."""
    assert p99_s(np.array([])) == 0.0


def test_the_best_way_gives_the_most_rows() -> None:
    """Two runs at once of 10 rows a second each, against one of 15; sizes between those measured lie on the line."""
    apart = Costs(runners=2, threads=1, run_s={1: 0.2, 4: 0.4})
    together = Costs(runners=1, threads=2, run_s={1: 0.1, 3: 0.2})
    assert best([together, apart]) is apart
    assert (apart.best_rows, apart.rate) == (4, 20.0)
    assert apart.seconds(2) == pytest.approx(0.2667, rel=1e-3)


@pytest.mark.parametrize(("runners", "max_rows"), [(1, 4), (2, 1)])
def test_a_rehearsal_runs_each_request_once(runners: int, max_rows: int) -> None:
    """For real: each ends after it was due, however many come together."""
    row = {"X": np.zeros((1, 4), np.float32)}
    arrivals_s = [0.0, 0.0, 0.0, 0.0, 0.0, 0.001, 0.002, 0.002]
    times_s = run_greedy_queue(IRIS, row, arrivals_s, runners=runners, threads=1, max_rows=max_rows)
    assert len(times_s) == len(arrivals_s)
    assert min(times_s) > 0.0
