"""Counting latencies, and the histogram that is made of the counts."""

from __future__ import annotations

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.load.histogram import HIGHEST_NS, SIGNIFICANT_DIGITS, LatencyHistogram
from sardonyx_server.load.latencies import Latencies


def latencies(*values_ns: int) -> Latencies:
    """As they come from one process."""
    counts = LatencyHistogram()
    for value_ns in values_ns:
        counts.record(value_ns)
    return Latencies(counts.by_value(), sum_ns=counts.sum_ns, max_ns=counts.max_ns)


@given(st.lists(st.one_of(st.integers(0, 5000), st.integers(0, HIGHEST_NS)), max_size=50))
def test_the_counts_are_those_of_hdr_histogram(values_ns: list[int]) -> None:
    """Bucket for bucket: the encoded histograms are the same text."""
    expected = HdrHistogram(1, HIGHEST_NS, SIGNIFICANT_DIGITS)
    for value_ns in values_ns:
        assert expected.record_value(value_ns)
    assert latencies(*values_ns).encode() == expected.encode().decode()


@given(st.lists(st.integers(0, HIGHEST_NS), min_size=1, max_size=50))
def test_the_coarse_counts_miss_none_and_are_near(values_ns: list[int]) -> None:
    """For the live display: within 1 part in 16."""
    counts = LatencyHistogram()
    for value_ns in values_ns:
        counts.record(value_ns)
    coarse = counts.coarse()
    assert sum(coarse.values()) == len(values_ns)
    assert max(coarse) == pytest.approx(max(values_ns), rel=1 / 16, abs=64)


def test_a_latency_beyond_an_hour_counts_as_an_hour_and_one_below_zero_as_nothing() -> None:
    """None is dropped."""
    found = latencies(2 * HIGHEST_NS, -5)
    assert (found.count, found.max_s) == (2, 3600.0)


def test_percentiles_are_right_to_three_digits() -> None:
    """Of 1 to 1,000 ms, one of each."""
    found = latencies(*(number * 1_000_000 for number in range(1, 1001)))
    assert found.quantiles_s() == {
        "p50": pytest.approx(0.5, rel=1e-3),
        "p90": pytest.approx(0.9, rel=1e-3),
        "p99": pytest.approx(0.99, rel=1e-3),
        "p99.9": pytest.approx(0.999, rel=1e-3),
    }
    assert found.percentile_s(99) == found.quantiles_s()["p99"]
    assert found.mean_s == pytest.approx(0.5005)
    assert found.max_s == 1.0


def test_no_percentile_exceeds_the_longest_latency() -> None:
    """A bucket's upper end does; the maximum is exact."""
    found = latencies(1_234_567_891)
    assert found.percentile_s(99) == found.quantiles_s()["p50"] == found.max_s == 1.234567891


def test_those_above_a_limit_are_counted() -> None:
    """Those at the limit are within it."""
    found = latencies(*[10_000_000] * 5, *[50_000_000] * 3, 90_000_000)
    assert [found.count_above(limit_s) for limit_s in (0.001, 0.01, 0.02, 0.05, 0.09)] == [9, 4, 4, 1, 0]


def test_several_runs_become_one() -> None:
    """With exact sum and maximum."""
    whole = Latencies.merged([latencies(1_000, 2_000), latencies(9_000)])
    assert (whole.count, whole.max_s) == (3, 9e-6)
    assert whole.mean_s == pytest.approx(4e-6)


def test_without_answers_there_is_nothing_to_tell() -> None:
    """Zeros, and no error."""
    empty = latencies()
    assert (empty.count, empty.mean_s, empty.max_s, empty.percentile_s(99)) == (0, 0.0, 0.0, 0.0)
    assert set(empty.quantiles_s().values()) == {0.0}


def test_the_encoded_form_is_read_by_hdr_histogram() -> None:
    """Its tools in other languages read the same."""
    read = HdrHistogram.decode(latencies(1_000_000, 3_000_000).encode())
    assert read.get_total_count() == 2
    assert read.get_value_at_percentile(100) == pytest.approx(3_000_000, rel=1e-3)


def test_the_encoded_form_is_decoded() -> None:
    """To the same histogram; mean and maximum to its 3 digits."""
    before = latencies(1_000_000, 1_000_000, 3_000_000)
    after = Latencies.decoded(before.encode())
    assert after.encode() == before.encode()
    assert after.mean_s == pytest.approx(before.mean_s, rel=1e-3)
    assert after.max_s == pytest.approx(0.003, rel=1e-3)
    assert list(after.by_value_ns().values()) == [2, 1]
