"""What is compared with a bar, and what comes first."""

from __future__ import annotations

import re

import pytest

from bench.report.interval_chart import interval_chart
from bench.report.verdicts import State, Verdict, verdicts
from bench.store import Benchmark, Load, Point, Run
from tests.bench.report.synthetic import run

ANY = Benchmark(name="any", scenario="any")


@pytest.mark.parametrize(
    ("reached", "low", "high", "at_least", "state"),
    [
        (1.2, None, None, True, State.MET),
        (0.8, None, None, True, State.MISSED),
        (1.2, 1.1, 1.3, True, State.MET),
        (1.2, 0.9, 1.3, True, State.UNPROVEN),
        (0.8, 0.7, 1.1, True, State.MISSED),
        (0.8, 0.7, 0.9, False, State.MET),
        (0.8, 0.7, 1.1, False, State.UNPROVEN),
        (1.2, 0.9, 1.3, False, State.MISSED),
        (None, None, None, True, State.UNMEASURED),
    ],
)
def test_the_whole_interval_must_meet_the_bar(
    reached: float | None, low: float | None, high: float | None, at_least: bool, state: State
) -> None:
    """A bar of 1: at least, or at most."""
    found = Verdict(what="", reached=reached, low=low, high=high, bar=1.0, at_least=at_least, benchmark=ANY)
    assert found.state is state


def test_losing_cases_come_first_and_the_worst_of_them_before_the_others() -> None:
    """Ratios that must be high and ratios that must be low are ordered by how far they miss."""
    found = verdicts(run())
    order = list(State)
    assert [order.index(one.state) for one in found] == sorted(order.index(one.state) for one in found)
    missed = [one.distance for one in found if one.state is State.MISSED]
    assert missed == sorted(missed)
    assert max(missed) < 1


def test_a_peer_that_was_not_measured_is_named_with_the_reason() -> None:
    """It is neither won nor dropped."""
    (absent,) = [one for one in verdicts(run()) if one.state is State.UNMEASURED]
    assert absent.what == "rate, Sardonyx beside kserve: PeerMissing: kserve cannot be installed here"
    assert absent.reading == "not measured"


def test_what_stands_on_an_invalid_point_counts_for_nothing() -> None:
    """Of a ladder only the point that has the bar is judged; of a comparison all points are."""
    states = {one.benchmark.name: one.state for one in verdicts(run())}
    assert states["test_p99_at_half_load[iris]"] is State.MISSED
    assert states["test_p99_beside[triton-iris]"] is State.INVALID


def test_a_lost_request_is_a_bar_missed() -> None:
    """However good p99 was meanwhile."""
    points = [Point(load=Load(rate_per_s=1.0))]
    figures = {"lost": 2.0, "ratio": 1.0, "bar": 1.2, "met": 1.0}
    one = Benchmark(name="test_p99_during_reload", scenario="reload", points=points, figures=figures)
    lost, quick = verdicts(Run(benchmarks=[one]))
    assert (lost.what, lost.reading, lost.state) == ("requests lost in a reload", "2.00", State.MISSED)
    assert (quick.wording, quick.state) == ("at most 1.2", State.MET)


@pytest.mark.parametrize(
    ("reached", "at_least", "side"),
    [(1.5, True, 1), (0.7, True, -1), (0.7, False, 1), (1.5, False, -1), (99.0, True, 1)],
)
def test_better_is_right_of_the_bar(reached: float, at_least: bool, side: int) -> None:
    """In the small drawing, whichever way the bar goes; what is far beyond stays within it."""
    found = Verdict(what="", reached=reached, bar=1.0, at_least=at_least, benchmark=ANY)
    (place,) = re.findall(r'cx="([\d.]+)"', interval_chart(found))
    assert 0 < float(place) < 120
    assert (float(place) - 60) * side > 0


def test_what_was_not_measured_has_no_drawing() -> None:
    """Nor has a bar of 0, which nothing is a share of."""
    assert interval_chart(Verdict(what="", reached=None, bar=1.0, benchmark=ANY)) == ""
    assert interval_chart(Verdict(what="", reached=0.0, bar=0.0, at_least=False, benchmark=ANY)) == ""


def test_a_bar_that_was_not_judged_is_shown() -> None:
    """The suite judges nothing by a point that does not count; the summary says so."""
    late = Point(load=Load(rate_per_s=1.0, share_of_capacity=0.7), valid=False, slip_share=0.1)
    one = Benchmark(
        name="test_p99_at_half_load[iris]", scenario="ladder", points=[late], figures={"capacity_per_s": 9.0}
    )
    (found,) = verdicts(Run(benchmarks=[one]))
    assert (found.state, found.wording, found.reading) == (State.INVALID, "not judged", "not measured")
    assert found.what == "p99 at 70 % of capacity / its simulated floor"
    assert interval_chart(found) == ""
