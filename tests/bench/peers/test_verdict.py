"""What turns of two servers say: advantage, standing, order of the table, and what is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.peers.ab_comparison import Pair
from bench.peers.verdict import Measure, Standing, Verdict, by_standing
from bench.store import Load, Point


def _verdict(
    ours: list[float], theirs: list[float], measure: Measure = Measure.THROUGHPUT, bar: float | None = 1.0
) -> Verdict:
    def point(value: float) -> Point:
        return Point(load=Load(), rate_reached_per_s=value, p99_ms=value)

    pairs = [Pair(ours=point(one), theirs=point(other)) for one, other in zip(ours, theirs, strict=True)]
    return Verdict(peer="triton", model="iris", question="test_it", wording="it", measure=measure, pairs=pairs, bar=bar)


def test_more_answers_a_second_are_an_advantage() -> None:
    """Throughput: ours / theirs."""
    found = _verdict([300, 310, 290], [100, 100, 100]).advantage
    assert found is not None
    assert found.centre == pytest.approx(3.0, rel=0.02)
    # Student's t of three: 4.303 standard deviations of 3.3 %, by the root of three.
    assert (found.low, found.high) == pytest.approx((3.0 / 1.085, 3.0 * 1.085), rel=0.01)


def test_a_lower_p99_is_an_advantage() -> None:
    """p99: theirs / ours, so that above 1 is ahead here too."""
    found = _verdict([2.0, 2.0, 2.0], [8.0, 8.0, 8.0], Measure.P99).advantage
    assert found is not None
    assert (found.low, found.centre, found.high) == pytest.approx((4.0, 4.0, 4.0))


@pytest.mark.parametrize(
    ("ours", "bar", "standing"),
    [
        ([50, 51, 49], 1.0, Standing.BEHIND),
        ([50, 200, 100], 1.0, Standing.UNDECIDED),
        ([110, 140, 105], 1.0, Standing.UNDECIDED),
        ([200, 201, 199], 15.0, Standing.SHORT),
        ([200, 201, 199], 1.0, Standing.MET),
        ([50, 51, 49], None, Standing.SHOWN),
    ],
)
def test_standing_is_that_of_the_whole_interval(ours: list[float], bar: float | None, standing: Standing) -> None:
    """The lower end must be above the bar; three turns that are all ahead may be luck; a limit has no bar."""
    assert _verdict(ours, [100, 100, 100], bar=bar).standing is standing


def test_turns_in_which_the_generator_was_late_count_for_nothing() -> None:
    """Their figures are the generator's; where they are half of all turns, nothing was measured."""
    late = Pair(ours=Point(load=Load(), p99_ms=9.0, valid=False), theirs=Point(load=Load(), p99_ms=1.0))
    good = Pair(ours=Point(load=Load(), p99_ms=1.0), theirs=Point(load=Load(), p99_ms=2.0))
    most = replace(_verdict([], [], Measure.P99), pairs=[good, late, good])
    assert most.advantage is not None
    assert most.advantage.centre == pytest.approx(2.0)
    half = replace(_verdict([], [], Measure.P99), pairs=[good, late])
    assert half.standing is Standing.UNKNOWN
    assert half.cells()[3:6] == ("", "", "")


def test_turns_that_count_for_nothing_are_told_of_and_not_stored() -> None:
    """Unless nothing was measured: then they are the reason."""
    late = Pair(ours=Point(load=Load(), p99_ms=9.0, valid=False), theirs=Point(load=Load(), p99_ms=1.0))
    good = Pair(ours=Point(load=Load(), p99_ms=1.0), theirs=Point(load=Load(), p99_ms=2.0))
    for pairs, stored in (([good, late, good], 2), ([late, good], 2)):
        theirs, _ = replace(_verdict([], [], Measure.P99), pairs=pairs).benchmarks(scenario="ladder", command="c")
        assert len(theirs.points) == stored
        assert theirs.remarks == [f"1 of {len(pairs)} turns count for nothing: the generator was late"]


def test_one_turn_is_no_comparison() -> None:
    """Nobody knows how far the next one would be."""
    one = _verdict([300], [100])
    assert one.standing is Standing.UNKNOWN
    theirs, _ = one.benchmarks(scenario="closed", command="c")
    assert (theirs.figures, theirs.remarks) == ({}, ["one turn has no interval"])


def test_a_limit_is_stored_under_its_own_name() -> None:
    """It has no bar, so no ratio that could miss one."""
    echo = replace(_verdict([300] * 3, [600] * 3, bar=None), peer="cpp-echo")
    theirs, _ = echo.benchmarks(scenario="limits", command="c")
    assert theirs.figures == pytest.approx(
        {"cpp_echo_per_s": 600, "of_cpp_echo": 0.5, "of_cpp_echo_low": 0.5, "of_cpp_echo_high": 0.5}
    )


def test_requests_that_failed_leave_the_comparison_unmeasured() -> None:
    """A server that sheds is not faster for it."""
    shed = Pair(
        ours=Point(load=Load(), p99_ms=1.0, failed={"RESOURCE_EXHAUSTED": 1}), theirs=Point(load=Load(), p99_ms=1.0)
    )
    verdict = Verdict(peer="triton", model="iris", question="q", wording="w", measure=Measure.P99, pairs=[shed])
    assert verdict.standing is Standing.UNKNOWN
    assert verdict.benchmarks(scenario="ladder", command="c")[0].remarks == ["requests failed: 1 RESOURCE_EXHAUSTED"]


def test_losing_cases_come_first() -> None:
    """Behind, undecided, short of the bar, won, and what could not be measured."""
    behind, undecided = _verdict([50, 51, 49], [100] * 3), _verdict([50, 200, 100], [100] * 3)
    short, clear = _verdict([200] * 3, [100] * 3, bar=15.0), _verdict([900] * 3, [100] * 3)
    narrow, unknown = _verdict([110] * 3, [100] * 3), _verdict([], [])
    assert by_standing([unknown, clear, short, narrow, undecided, behind]) == [
        behind,
        undecided,
        short,
        narrow,
        clear,
        unknown,
    ]


def test_a_line_shows_medians_and_the_interval() -> None:
    """As people read it."""
    assert _verdict([3000, 3000, 3000], [1500, 1500, 1500], bar=1.0).cells() == (
        "triton",
        "iris",
        "it",
        "3,000/s",
        "1,500/s",
        "2.00  (2.00 .. 2.00)",
        "> 1",
        "met",
    )


def test_the_stored_ratio_is_ours_by_theirs_for_both_measures() -> None:
    """So that of a p99 is below 1 where Sardonyx is ahead."""
    rate, _ = _verdict([300] * 3, [100] * 3).benchmarks(scenario="closed", command="c")
    p99, ours = _verdict([2.0] * 3, [8.0] * 3, Measure.P99).benchmarks(scenario="ladder", command="c")
    assert rate.figures == pytest.approx({"ratio": 3, "ratio_low": 3, "ratio_high": 3, "bar": 1, "met": 1})
    assert p99.figures == pytest.approx({"ratio": 0.25, "ratio_low": 0.25, "ratio_high": 0.25, "bar": 1, "met": 1})
    assert (p99.name, p99.server, p99.scenario) == ("test_it[triton-iris]", "triton", "ladder")
    assert (ours.name, ours.server, ours.figures) == ("test_it[triton-iris-sardonyx]", "sardonyx", {})
    assert [point.p99_ms for point in ours.points] == [2.0, 2.0, 2.0]
