"""What is counted: plain sums, histograms whose bounds belong to their buckets, failures by fixed reasons."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sardonyx_server import errors
from sardonyx_server.engine.counters import (
    FAILURES,
    REJECTIONS,
    ROWS_BOUNDS,
    SECONDS_BOUNDS,
    Counters,
    Failures,
)
from sardonyx_server.engine.queue import QueueClosed
from tests.server.engine.requests import new_counters


def all_errors(of: type[errors.ServerError] = errors.ServerError) -> list[type[errors.ServerError]]:
    """Every class of errors, also those that are made elsewhere."""
    return [of, *(each for child in of.__subclasses__() for each in all_errors(child))]


class TestAnswers:
    """One thread's counters."""

    def test_a_request_is_counted_with_its_wait_its_output_and_its_whole_time(self) -> None:
        """The time of the run is the batch's, and counted there."""
        counters = new_counters()
        counters.answered(3, arrived_s=10.0, began_s=10.5, ran_s=12.0, now_s=12.25)
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
        counters.answered(1, arrived_s=0.0, began_s=11.0, ran_s=12.0, now_s=13.0)
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
        counters.hit(0.5, 0.25)
        counters.missed(0.125)
        assert (counters.requests, counters.cache_hits, counters.cache_misses) == (0, 1, 1)
        assert (counters.request_s, counters.cache_hit_s, counters.cache_miss_s) == (0.5, 0.25, 0.125)
        assert counters.request_counts[SECONDS_BOUNDS.index(0.5)] == 1


class TestFailures:
    """Errors by reasons that nobody but this server chooses."""

    @pytest.mark.parametrize(
        ("error", "failure", "rejection"),
        [
            (errors.InvalidRequest("x"), "OTHER", "bad_request"),
            (errors.CallerError("x"), "OTHER", "bad_request"),
            (errors.NotFound("x"), "OTHER", "not_found"),
            (errors.DeadlineExceeded("x"), "REJECTED", "deadline"),
            (errors.Cancelled("x"), "CANCELED", "cancelled"),
            (errors.Unauthenticated("x"), "OTHER", "not_allowed"),
            (errors.Forbidden("x"), "OTHER", "not_allowed"),
            (errors.Overloaded("x"), "REJECTED", "queue_full"),
            (errors.QueueBytesFull("x"), "REJECTED", "queue_bytes"),
            (errors.QueueTimeout("x"), "REJECTED", "queue_timeout"),
            (errors.ModelUnavailable("x"), "OTHER", "unavailable"),
            (QueueClosed("x"), "OTHER", "unavailable"),
            (errors.ShuttingDown("x"), "OTHER", "unavailable"),
            (errors.TryLater("x"), "OTHER", "unavailable"),
            (errors.Unsupported("x"), "OTHER", "unsupported"),
            (errors.ExecutionFailed("x"), "BACKEND", None),
            (errors.ServerError("x"), "OTHER", None),
            (ZeroDivisionError("x"), "OTHER", None),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
    )
    def test_an_error_has_its_reasons(self, error: Exception, failure: str, rejection: str | None) -> None:
        """By its class."""
        failures = Failures()
        failures.count(error, 0.5)
        counts = failures.counts()
        assert (counts.count, counts.total_s) == (1, 0.5)
        assert {reason for reason, count in counts.failures.items() if count} == {failure}
        assert {reason for reason, count in counts.rejections.items() if count} == ({rejection} - {None})

    def test_every_error_has_a_reason_and_every_reason_is_always_there(self) -> None:
        """A reader needs no list of its own."""
        failures = Failures()
        made = all_errors()
        for kind in made:
            failures.count(kind("x"))
        counts = failures.counts()
        assert tuple(counts.failures) == FAILURES
        assert tuple(counts.rejections) == REJECTIONS
        assert counts.count == len(made)
        assert all(counts.rejections.values())

    def test_any_thread_may_count(self) -> None:
        """Runners drop requests, the lane refuses them, whoever drains ends them."""
        failures = Failures()

        def count() -> None:
            for _ in range(1000):
                failures.count(errors.Cancelled("x"), 1.0)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (failures.counts().count, failures.counts().total_s) == (4000, 4000.0)

    def test_counts_stay_as_they_were_read(self) -> None:
        """A reader's figures do not change under its hands, nor can it change them."""
        failures = Failures()
        counts = failures.counts()
        failures.count(errors.Cancelled("x"))
        assert (counts.count, counts.failures["CANCELED"], counts.rejections["cancelled"]) == (0, 0, 0)
        frozen: Any = counts.failures
        with pytest.raises(TypeError):
            frozen["CANCELED"] = 7


def test_counters_know_where_failures_are_counted() -> None:
    """Of their model."""
    failures = Failures()
    assert Counters(failures).failures is failures
