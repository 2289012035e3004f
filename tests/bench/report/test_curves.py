"""Percentile curves from encoded histograms."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.curves import curve
from sardonyx_server.load.latencies import Latencies

_MS = 1_000_000


def encoded(values_ns: list[int]) -> str:
    """As a run stores them."""
    return Latencies(Counter(values_ns), sum_ns=sum(values_ns), max_ns=max(values_ns, default=0)).encode()


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=40))
def test_a_step_is_the_share_of_values_up_to_it(values_ns: list[int]) -> None:
    """Less half a value, for the slowest to have a place on an axis that never reaches 100 %."""
    steps = curve(encoded(values_ns))
    for step in steps:
        # Three digits are kept of each value.
        slower = sum(value > step.latency_ms * _MS * 1.001 for value in values_ns)
        faster = sum(value < step.latency_ms * _MS * 0.999 for value in values_ns)
        at_most = (step.percentile / 100) * len(values_ns) + 0.5
        assert faster <= at_most <= len(values_ns) - slower + 1e-6
    assert steps[-1].percentile == pytest.approx(100 * (1 - 0.5 / len(values_ns)))
    assert steps[-1].latency_ms * _MS == pytest.approx(max(values_ns), rel=1e-3)


def test_repeats_are_added_up() -> None:
    """Their percentiles are those of all values together, not a mean of percentiles."""
    steps = curve(encoded([_MS] * 99), encoded([100 * _MS]))
    assert [(step.percentile, round(step.latency_ms)) for step in steps] == [(98.5, 1), (99.5, 100)]


def test_a_long_curve_is_thinned_out() -> None:
    """Its ends stay, and it never falls."""
    steps = curve(encoded([1000 + 7 * number for number in range(20_000)]))
    assert len(steps) < 200
    assert steps[0].percentile == pytest.approx(0, abs=0.1)
    assert steps[-1].percentile == pytest.approx(100 * (1 - 0.5 / 20_000))
    assert [step.latency_ms for step in steps] == sorted(step.latency_ms for step in steps)


@pytest.mark.parametrize("texts", [(), ("",), ("", "")])
def test_nothing_stored_is_no_curve(texts: tuple[str, ...]) -> None:
    """Runs in small form have no histograms."""
    assert list(curve(*texts)) == []
