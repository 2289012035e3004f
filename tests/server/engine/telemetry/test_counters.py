"""What is counted: plain sums, and histograms whose bounds belong to their buckets."""

from __future__ import annotations

import pytest

from sardonyx_server.engine.telemetry.counters import ROWS_BOUNDS, SECONDS_BOUNDS, Counters
from sardonyx_server.engine.telemetry.failures import Failures
from tests.server.engine.doubles import new_counters


class TestAnswers:
    """One thread's counters."""

    def test_a_request_is_counted_with_its_wait_its_output_and_its_whole_time(self) -> None:
        """The time of the run is the batch's, and counted there."""
        counters = new_counters()
        counters.answered(3, arrived_s=10.0, began_s=10.5, ran_s=12.0, now_s=12.25, streamed=False)
        assert (counters.requests, counters.rows) == (1, 3)
        assert (counters.queue_s, counters.output_s, counters.request_s) == (0.5, 0.25, 2.25)
        assert counters.queue_counts[SECONDS_BOUNDS.index(0.5)] == 1
        assert counters.request_counts[SECONDS_BOUNDS.index(2.5)] == 1
        assert sum(counters.queue_counts) == sum(counters.request_counts) == 1

    def test_the_times_of_a_run_count_for_each_of_its_requests(self) -> None:
        """And once in the table by size."""
        counters = new_counters()
        counters.ran(8, 3, input_s=0.25, infer_s=0.5, unix_s=1e9)
        counters.scattered(8, 0.125)
        assert (counters.input_s, counters.infer_s) == (0.75, 1.5)
        (size,) = counters.sizes.values()
        assert (size.count, size.input_s, size.infer_s, size.output_s) == (1, 0.25, 0.5, 0.125)
        assert (counters.batches, counters.run_rows, counters.last_run_unix_s) == (1, 8, 1e9)
        assert counters.compute_counts[SECONDS_BOUNDS.index(1.0)] == 1
        assert counters.rows_counts[ROWS_BOUNDS.index(8)] == 1

    def test_an_answer_on_a_stream_is_a_response_too(self) -> None:
        """Its run's time is its own, however many shared it."""
        counters = new_counters()
        counters.answered(1, arrived_s=1.0, began_s=1.5, ran_s=3.5, now_s=3.75, streamed=True)
        counters.answered(1, arrived_s=1.0, began_s=1.5, ran_s=3.5, now_s=3.75, streamed=False)
        assert (counters.requests, counters.responses) == (2, 1)
        assert (counters.response_s, counters.response_compute_s, counters.response_output_s) == (2.75, 2.0, 0.25)

    @pytest.mark.parametrize("bound", ROWS_BOUNDS)
    def test_a_bound_belongs_to_its_bucket(self, bound: float) -> None:
        """As Prometheus has it: less than or equal."""
        counters = new_counters()
        counters.ran(int(bound), 1, input_s=0.0, infer_s=0.0, unix_s=0.0)
        counters.ran(int(bound) + 1, 1, input_s=0.0, infer_s=0.0, unix_s=0.0)
        index = ROWS_BOUNDS.index(bound)
        assert counters.rows_counts[index : index + 2] == [1, 1]

    def test_what_is_beyond_the_last_bound_has_a_bucket_too(self) -> None:
        """The last one."""
        counters = new_counters()
        counters.answered(1, arrived_s=0.0, began_s=11.0, ran_s=12.0, now_s=13.0, streamed=False)
        assert (counters.queue_counts[-1], counters.request_counts[-1]) == (1, 1)

    @pytest.mark.parametrize("bounds", [SECONDS_BOUNDS, ROWS_BOUNDS])
    def test_bounds_ascend(self, bounds: tuple[float, ...]) -> None:
        """Bisection needs it."""
        assert list(bounds) == sorted(set(bounds))

    def test_sizes_have_an_end(self) -> None:
        """Callers choose how many rows they send: beyond 4096 a size stands for all down to half of it."""
        counters = new_counters()
        for rows in (4096, 4097, 5000, 8192, 8193):
            counters.ran(rows, 1, input_s=0.0, infer_s=0.0, unix_s=0.0)
        assert {rows: size.count for rows, size in counters.sizes.items()} == {4096: 1, 8192: 3, 16384: 1}
        assert counters.run_rows == 4096 + 4097 + 5000 + 8192 + 8193

    def test_the_reasons_why_batches_were_closed(self) -> None:
        """By reason."""
        counters = new_counters()
        for reason in ("full", "drained", "full"):
            counters.closed(reason)
        assert counters.closed_by == {"full": 2, "drained": 1}

    def test_what_the_cache_answers_is_a_request_without_a_run(self) -> None:
        """And what it does not answer is one more look."""
        counters = new_counters()
        counters.hit(0.5, 0.25, streamed=False)
        counters.missed(0.125)
        assert (counters.requests, counters.cache_hits, counters.cache_misses) == (0, 1, 1)
        assert (counters.request_s, counters.cache_hit_s, counters.cache_miss_s) == (0.5, 0.25, 0.125)
        assert counters.request_counts[SECONDS_BOUNDS.index(0.5)] == 1
        assert counters.responses == 0
        counters.hit(0.5, 0.25, streamed=True)
        assert (counters.responses, counters.response_s, counters.response_compute_s) == (1, 0.5, 0.0)


def test_counters_know_where_failures_are_counted() -> None:
    """Of their model."""
    failures = Failures()
    assert Counters(failures).failures is failures
