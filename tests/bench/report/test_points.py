"""Points by model and server, repeats as one dot, and numbers in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.formatting import latency, milliseconds, rate, short, significant
from bench.report.points import LabelledPoint, by_model, dots, identifier, latency_table, remarks, warnings
from bench.store import Benchmark, Load, Point
from tests.bench.report.synthetic import run


@given(st.text(max_size=8), st.text(max_size=8))
def test_ids_are_ids_and_differ(one: str, other: str) -> None:
    """Whatever a model is called: no space, no quote, nothing that begins markup."""
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in identifier(one, other))
    assert (identifier(one) == identifier(other)) == (one == other)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (0.9996, "1.000"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (-2.5, "-2.50"),
    ],
)
def test_three_digits_are_shown(value: float, words: str) -> None:
    """And all of those before the point."""
    assert significant(value) == words


def test_units_keep_numbers_short() -> None:
    """At axes; tables have one unit."""
    assert [latency(value_ms) for value_ms in (0, 0.05, 1, 250, 2000)] == ["0", "50 µs", "1 ms", "250 ms", "2 s"]
    assert [short(value) for value in (0, 0.5, 250, 2500, 10_000_000)] == ["0", "0.5", "250", "2.5k", "10M"]
    assert [rate(12_345.6), rate(1.5), milliseconds(0.25)] == ["12,346/s", "1.50/s", "0.250 ms"]


def measured(p99_ms: float, *, rate_per_s: float = 100.0, valid: bool = True) -> LabelledPoint:
    """A point of a benchmark that has nothing else."""
    point = Point(load=Load(rate_per_s=rate_per_s), p99_ms=p99_ms, valid=valid, slip_share=0.02, answered=1)
    return LabelledPoint(benchmark=Benchmark(name="b", scenario="ladder"), point=point)


def test_repeats_are_one_dot_and_invalid_ones_are_not_among_them() -> None:
    """Its height is their median, its reach their range; each invalid one is a dot of its own."""
    points = [measured(3.0), measured(1.0), measured(2.0), measured(9.0, valid=False), measured(5.0, rate_per_s=200.0)]
    found = dots(points, x=lambda one: one.offered_per_s, y=lambda one: one.point.p99_ms, words=milliseconds)
    assert [(dot.x, dot.y, dot.reach, dot.valid) for dot in found] == [
        (100.0, 2.0, (1.0, 3.0), True),
        (100.0, 9.0, None, False),
        (200.0, 5.0, None, True),
    ]
    assert found[0].title == "sardonyx, 100/s: 2.00 ms, 1.00 ms to 3.00 ms in 3 repeats"
    assert found[1].title == "sardonyx, 100/s: 9.00 ms; invalid: slip 2 %"


def test_a_share_is_told_only_of_a_capacity_that_was_found() -> None:
    """A peer's rate may be a share of what the slower of two can do, which is not its capacity."""
    point = Point(load=Load(rate_per_s=50.0, share_of_capacity=0.3))
    own = LabelledPoint(
        benchmark=Benchmark(name="b", scenario="ladder", figures={"capacity_per_s": 166.7}), point=point
    )
    beside = LabelledPoint(benchmark=Benchmark(name="b", scenario="ladder", server="triton"), point=point)
    assert (own.words, beside.words) == ("50.0/s (30 % of capacity)", "50.0/s")


def test_our_server_is_drawn_last_and_listed_first() -> None:
    """On top of the others in a plot, above them in a table."""
    servers = by_model(run(), "ladder")["iris"]
    assert [one.server for one in servers] == ["triton", "sardonyx"]
    assert latency_table(servers).rows[0].cells[0] == "sardonyx"


def test_points_without_answers_are_told_of() -> None:
    """They have no latency that could be drawn."""
    silent = replace(measured(0.0).point, answered=0, failed={"UNAVAILABLE": 7})
    served = by_model(replace(run(), benchmarks=[Benchmark(name="b", scenario="ladder", points=[silent])]), "ladder")[
        ""
    ]
    assert "1 of 1 points got no answer at all and can be seen in the table only." in warnings(served)
    assert latency_table(served).rows[0].cells[3:9] == ("-", "-", "-", "-", "-", "7.00 UNAVAILABLE")


def test_a_remark_is_said_once() -> None:
    """Both sides of a comparison have the same."""
    both = [Benchmark(name=name, scenario="ladder", server=name, remarks=("a", "b")) for name in ("triton", "sardonyx")]
    points = [replace(one, points=[measured(1.0).point]) for one in both]
    assert remarks(by_model(replace(run(), benchmarks=points), "ladder")[""]) == ["a", "b"]
