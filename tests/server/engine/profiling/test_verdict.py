"""What follows from a cost curve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sardonyx_server.engine.profiling.probe import CurvePoint, Verdict
from sardonyx_server.engine.profiling.verdict import MAX_DEFERRED_READ_BYTES, best_point, duration_text

CURVE = tuple(CurvePoint(rows=rows, seconds=seconds) for rows, seconds in ((1, 10.0), (2, 12.0), (4, 20.0)))


@pytest.mark.parametrize(("rows", "seconds"), [(1, 10.0), (2, 12.0), (3, 16.0), (4, 20.0), (5, 24.0), (14, 60.0)])
def test_seconds_lie_on_straight_lines_between_and_beyond_the_points(rows: int, seconds: float) -> None:
    """Beyond the last point, the last two say how it goes on."""
    assert Verdict(batchable=True, reason="", curve=CURVE).seconds(rows) == pytest.approx(seconds)


def test_seconds_never_fall_beyond_the_last_point() -> None:
    """Noise in the last points does not make larger batches free."""
    curve = (CurvePoint(rows=1, seconds=3.0), CurvePoint(rows=2, seconds=2.0))
    assert Verdict(batchable=True, reason="", curve=curve).seconds(100) == pytest.approx(2.0)


def test_seconds_are_in_proportion_where_one_point_is_known() -> None:
    """The cautious guess."""
    assert Verdict(batchable=True, reason="", curve=CURVE[:1]).seconds(3) == pytest.approx(30.0)


def test_nothing_is_known_without_a_curve() -> None:
    """None, not zero: an unknown cost is not a low one."""
    verdict = Verdict(batchable=False, reason="")
    assert verdict.seconds(1) is None
    assert verdict.seconds(1) is None
    assert verdict.best_rows == 1


def test_the_single_run_is_best_where_no_batch_is_worth_it() -> None:
    """A gain of 9 % is no gain."""
    curve = [CurvePoint(rows=1, seconds=1.0), CurvePoint(rows=2, seconds=1.82)]
    assert best_point(curve) is curve[0]


@pytest.mark.parametrize(("limit_s", "rows"), [(30.0, 16), (64.0, 64), (99.0, 64), (18.0, 64), (0.5, 64)])
def test_batches_are_held_within_a_time_where_that_costs_little(limit_s: float, rows: int) -> None:
    """Rows of 16 are nearly as cheap as of 64; to hold it to 8 rows would cost half of that again."""
    curve = tuple(
        CurvePoint(rows=rows, seconds=seconds) for rows, seconds in ((1, 10.0), (8, 12.0), (16, 19.2), (64, 64.0))
    )
    verdict = Verdict(batchable=True, reason="", curve=curve, best_rows=64)
    assert verdict.within(limit_s).best_rows == rows


def test_what_a_batch_costs_outside_its_run_counts() -> None:
    """Rows of runs of 4 and of 16 cost the same, but each batch makes the server work, and empties its caches."""
    curve = tuple(
        CurvePoint(rows=rows, seconds=seconds)
        for rows, seconds in ((1, 89e-6), (2, 92e-6), (4, 130e-6), (8, 250e-6), (16, 512e-6), (32, 1062e-6))
    )
    assert best_point(curve).rows == 16
    assert Verdict(batchable=True, reason="", curve=curve).efficient_rows(16) == 8


def test_what_it_takes_to_copy_rows_into_a_batch_counts() -> None:
    """A picture that comes alone is read where it lies."""
    picture = 602_112
    curve = [CurvePoint(rows=rows, seconds=rows * 20e-6, copied_bytes=rows * picture) for rows in (2, 4, 8)]
    alone = CurvePoint(rows=1, seconds=20e-6)
    assert best_point([alone, *curve]) is alone
    assert best_point([alone, *(replace(point, copied_bytes=0) for point in curve)]).rows > 1


@pytest.mark.parametrize(
    ("row_bytes", "limit_s", "rows"),
    [
        (602_112, 1.0, 16),
        (602_112, 100e-6, 4),
        (602_112, 1e-6, 1),
        (MAX_DEFERRED_READ_BYTES // 8, 1.0, 8),
        (4, 1.0, 16),
    ],
    ids=["picture", "no longer", "too long", "no more bytes", "small"],
)
def test_rows_that_are_read_by_their_run_share_it_at_no_cost(row_bytes: int, limit_s: float, rows: int) -> None:
    """So larger batches pay, as far as a run may take time and memory."""
    curve = tuple(
        CurvePoint(
            rows=each, seconds=each * 20e-6, copied_bytes=row_bytes * each * (each > 1), input_bytes=row_bytes * each
        )
        for each in (1, 2, 4, 8, 16)
    )
    assert Verdict(batchable=True, reason="", curve=curve).deferred_read_rows(limit_s) == rows


def test_outputs_are_copied_out_of_a_shared_run_wherever_its_inputs_lay() -> None:
    """A model that answers with pictures gains nothing by it."""
    picture = 602_112
    curve = tuple(
        CurvePoint(
            rows=rows, seconds=rows * 20e-6, copied_bytes=2 * rows * picture * (rows > 1), input_bytes=rows * picture
        )
        for rows in (1, 2, 4)
    )
    assert Verdict(batchable=True, reason="", curve=curve).deferred_read_rows(1.0) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.11e-6, "0.11 us"),
        (0.9951e-6, "1.0 us"),
        (6e-6, "6.0 us"),
        (9.96e-6, "10 us"),
        (999.4e-6, "999 us"),
        (999.6e-6, "1.0 ms"),
        (5.3e-3, "5.3 ms"),
        (0.31, "310 ms"),
        (1.24, "1.2 s"),
        (75.0, "75 s"),
        (4000.0, "4000 s"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    """Two or three digits in the unit that suits them."""
    assert duration_text(seconds) == text


def test_the_efficient_size_is_the_smallest_whose_rows_cost_little_more() -> None:
    """A quarter more than in the cheapest batch that may be run; the most there may be where nothing is known."""
    curve = tuple(
        CurvePoint(rows=rows, seconds=seconds) for rows, seconds in ((1, 10.0), (8, 11.99), (16, 19.2), (64, 64.0))
    )
    verdict = Verdict(batchable=True, reason="", curve=curve)
    assert [verdict.efficient_rows(most) for most in (1, 8, 16, 64)] == [1, 8, 8, 16]
    assert Verdict(batchable=True, reason="").efficient_rows(32) == 32
