"""The table of a run names what was missed first, and hides no point that does not count."""

from __future__ import annotations

from dataclasses import replace

from bench.store import Benchmark, Load, Point, Run
from bench.suite.findings import bar, paired_bar
from bench.suite.tables import answer, lines


def ladder(name: str, *, reached: float, late: bool = False) -> Benchmark:
    """Two rates; the higher one may be one at which the generator was late."""
    points = [
        Point(
            load=Load(rate_per_s=1000.0 * share, share_of_capacity=share),
            p99_ms=4.0 * share,
            floor_p99_ms=1.0,
            valid=share < 0.9 or not late,
        )
        for share in (0.5, 0.9)
    ]
    figures = {"capacity_per_s": 1000.0} | bar(reached, 1.25, at_least=False)
    return Benchmark(name=name, scenario="ladder", points=points, figures=figures)


def test_missed_bars_come_first() -> None:
    """Then those that are met, then what has none."""
    idle = Benchmark(name="idle", scenario="idle", figures={"idle_cpu_share": 0.002, "memory_bytes": 1.5e8})
    run = Run(
        benchmarks=[idle, ladder("p99[good]", reached=1.2), ladder("p99[bad]", reached=1.3)], cpu="A processor", cores=2
    )
    table = lines(run)
    assert [line.split()[0] for line in table[3:6]] == ["p99[bad]", "p99[good]", "idle"]
    assert "missed: 1.30, at most 1.25" in table[3]
    assert "met: 1.20, at most 1.25" in table[4]
    assert table[5].endswith("0.20% of a core; 150 MB")
    assert table[-1] == "1 of 2 bars met; 0 of 4 points discarded"


def test_turns_of_one_phase_are_shown_as_their_median() -> None:
    """And the bar by its whole interval: what only its middle reaches is not proven."""
    points = [
        Point(load=Load(rate_per_s=500.0), label=label, p99_ms=p99_ms, valid=p99_ms < 9.0)
        for label, values in {"quiet": [1.0, 1.2, 1.1], "during": [1.3, 1.0, 9.0]}.items()
        for p99_ms in values
    ]
    figures = {"lost": 0.0} | paired_bar([1.3, 1.0], [1.0, 1.2], 1.2, at_least=False)
    found = Benchmark(name="test_p99_during_reload", scenario="reload", points=points, figures=figures)
    assert answer(found) == "p99 quiet 1.10, during 1.30 (1 of 3 discarded) ms; 0 lost"
    run = Run(benchmarks=[replace(found, points=points[:5])], cpu="A processor", cores=2)
    assert "not proven: 1.04 (0.0617 .. 17.6), at most 1.2" in lines(run)[3]


def test_a_bar_of_turns_is_met_where_its_whole_interval_meets_it() -> None:
    """One turn has no interval, and says no more than itself; none says nothing."""
    assert paired_bar([1.2] * 5, [1.0] * 5, 0.85, at_least=True)["met"] == 1.0
    assert paired_bar([1.2, 1.0, 0.8, 1.1, 0.7], [1.0] * 5, 0.85, at_least=True)["met"] == 0.0
    assert paired_bar([1.1], [1.0], 1.2, at_least=False) == bar(1.1, 1.2, at_least=False)
    assert paired_bar([], [], 1.2, at_least=False) == {}


def test_a_discarded_point_is_named() -> None:
    """By its rate."""
    said = answer(ladder("late", reached=1.0, late=True))
    assert said == "p99 2.00 ms at 500/s (floor 1.00); capacity 1,000/s; discarded: 90%"


def test_a_rehearsal_stands_beside_what_the_server_reached() -> None:
    """At the load that is judged."""
    found = ladder("good", reached=1.0)
    points = [*found.points[:1], replace(found.points[1], rehearsed_p99_ms=5.0)]
    said = answer(replace(found, points=points))
    assert said == "p99 2.00 ms at 500/s (floor 1.00); capacity 1,000/s; at 90% 3.60, rehearsed 5.00"


def test_goodput_is_shown_for_every_load() -> None:
    """As the multiple of the capacity."""
    points = [Point(load=Load(share_of_capacity=share), goodput_per_s=90 / share) for share in (1.0, 5.0)]
    figures = bar(0.2, 0.85, at_least=True)
    said = answer(Benchmark(name="over", scenario="overload", points=points, figures=figures))
    assert said == "in time a second at 1 x: 90, 5 x: 18"


def test_a_benchmark_that_found_nothing_tells_why() -> None:
    """By its remarks."""
    assert answer(Benchmark(name="x", scenario="soak", remarks=["not measured: no time"])) == "not measured: no time"


def test_nothing_is_judged_by_a_point_that_does_not_count() -> None:
    """A bar needs valid points; without any it stands on figures that are always valid."""
    late = Point(load=Load(rate_per_s=1.0), valid=False)
    assert bar(0.5, 0.85, at_least=True, points=[late]) == {}
    assert bar(0.5, 0.85, at_least=True) == {"ratio": 0.5, "bar": 0.85, "met": 0.0}
    assert bar(1.2, 1.2, at_least=False) == {"ratio": 1.2, "bar": 1.2, "met": 1.0}
