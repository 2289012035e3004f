"""Failures are counted by fixed reasons."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sardonyx_server import errors
from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.telemetry.failures import FAILURES, REJECTIONS, Failures


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
        (errors.QueueTooLong("x"), "REJECTED", "queue_too_long"),
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
def test_an_error_has_its_reasons(error: Exception, failure: str, rejection: str | None) -> None:
    """By its class."""
    failures = Failures()
    failures.count(error, 0.5)
    counts = failures.counts()
    assert (counts.count, counts.total_s) == (1, 0.5)
    assert {reason for reason, count in counts.failures.items() if count} == {failure}
    assert {reason for reason, count in counts.rejections.items() if count} == ({rejection} - {None})


def test_every_error_has_a_reason_and_every_reason_is_always_there() -> None:
    """A reader needs no list of its own."""
    failures = Failures()
    made = [getattr(errors, name)("x") for name in errors.__all__]
    for error in made:
        failures.count(error)
    counts = failures.counts()
    assert tuple(counts.failures) == FAILURES
    assert tuple(counts.rejections) == REJECTIONS
    assert counts.count == len(made)
    assert all(counts.rejections.values())


def test_failures_on_streams_are_responses_too() -> None:
    """Those that nobody waited for apart."""
    failures = Failures()
    failures.count(errors.ExecutionFailed("x"), 0.25, streamed=True)
    failures.count(errors.Cancelled("x"), 0.5, streamed=True)
    failures.count(errors.Cancelled("x"), 1.0)
    counts = failures.counts()
    assert (counts.count, counts.total_s) == (3, 1.75)
    assert (counts.responses, counts.responses_s) == (1, 0.25)
    assert (counts.cancelled_responses, counts.cancelled_responses_s) == (1, 0.5)


def test_any_thread_may_count() -> None:
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


def test_counts_stay_as_they_were_read() -> None:
    """A reader's figures do not change under its hands, nor can it change them."""
    failures = Failures()
    counts = failures.counts()
    failures.count(errors.Cancelled("x"))
    assert (counts.count, counts.failures["CANCELED"], counts.rejections["cancelled"]) == (0, 0, 0)
    frozen: Any = counts.failures
    with pytest.raises(TypeError):
        frozen["CANCELED"] = 7
