"""Axes: where values lie, and where the ticks are."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.scales import each, linear, log, nines

AMOUNTS = st.floats(1e-6, 1e9)


@given(st.lists(AMOUNTS, min_size=1, max_size=20))
def test_a_linear_axis_begins_at_zero_and_holds_all_values(values: list[float]) -> None:
    """Its ticks are equally far apart, few, and end where it ends."""
    scale = linear(values)
    assert (scale.at(0.0), scale.at(scale.high)) == (0.0, 1.0)
    assert scale.high >= max(values) * (1 - 1e-9)
    assert 2 <= len(scale.ticks) <= 7
    steps = [high.value - low.value for low, high in pairwise(scale.ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@given(st.lists(AMOUNTS, min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_all_values(values: list[float]) -> None:
    """Its ends are 1, 2 or 5 of a power of ten, two ticks at least have labels, and equal ratios are equally far."""
    scale = log(values)
    assert scale.low <= min(values) * (1 + 1e-6)
    assert scale.high >= max(values) * (1 - 1e-6)
    for end in (scale.low, scale.high):
        digit = end / 10 ** math.floor(math.log10(end) + 1e-9)
        assert min(abs(digit - round_one) for round_one in (1, 2, 5, 10)) < 1e-6
    assert scale.at(math.sqrt(scale.low * scale.high)) == pytest.approx(0.5)
    assert [tick.value for tick in scale.ticks] == sorted(tick.value for tick in scale.ticks)
    assert len([tick for tick in scale.ticks if tick.label]) >= 2


@given(st.lists(AMOUNTS, min_size=2, max_size=20), AMOUNTS, AMOUNTS)
def test_order_is_kept(values: list[float], one: float, other: float) -> None:
    """On every kind of axis, whatever lies beyond its ends included."""
    low, high = sorted((one, other))
    for scale in (linear(values), log(values), each(values)):
        assert 0 <= scale.at(low) <= scale.at(high) <= 1


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (99.95, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]),
        (99.9999, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"]),
        (10.0, ["0 %", "50 %", "90 %"]),
    ],
)
def test_each_nine_takes_equal_room(highest: float, labels: list[str]) -> None:
    """Of an axis of percentiles; it ends at the highest one, and at 90 % at the earliest."""
    scale = nines(highest)
    assert [tick.label for tick in scale.ticks] == labels
    places = [scale.at(percentile) for percentile in (0.0, 90.0, 99.0, 99.9)]
    inside = [high - low for low, high in pairwise(places) if high < 1]
    assert inside == pytest.approx([inside[0]] * len(inside)) if inside else places[1] == 1


def test_an_axis_of_callers_has_a_tick_at_each() -> None:
    """Doubling is equally far everywhere."""
    scale = each([1, 2, 4, 64, 4])
    assert [tick.label for tick in scale.ticks] == ["1", "2", "4", "64"]
    assert scale.at(2) - scale.at(1) == pytest.approx(scale.at(64) - scale.at(32))
    assert each([8]).at(8) == pytest.approx(0.5)


def test_axes_of_nothing_are_axes() -> None:
    """A run in which nothing was answered has a page too."""
    assert linear([]).high > 0
    assert log([0.0, -1.0, math.inf]).low > 0
    assert each([]).low > 0
