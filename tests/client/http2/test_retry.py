"""When a failed call is made again: gRPC's rules (its proposal A6)."""

from __future__ import annotations

import grpc
import pytest

from sardonyx_client import Retry
from sardonyx_client._http2.errors import Http2RpcError
from sardonyx_client._http2.retry import RetryState, RetryThrottle

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
POLICY = Retry(max_attempts=4, initial_backoff_s=0.1, max_backoff_s=0.3, backoff_multiplier=2.0)


def begin(retry: Retry | None = POLICY) -> RetryState:
    """Of one call; no pause is longer or shorter than on average."""
    return RetryState(RetryThrottle(retry), retry, no_deadline=False, jitter=lambda: 0.5)


def busy(*, pushback_ms: int | None = None, unprocessed: bool = False, committed: bool = False) -> Http2RpcError:
    """A failure that can be tried again."""
    return Http2RpcError(UNAVAILABLE, "busy", pushback_ms=pushback_ms, unprocessed=unprocessed, committed=committed)


def test_pauses_grow_until_the_attempts_are_used_up() -> None:
    """The first attempt counts."""
    state = begin()
    assert [state.next_backoff_s(busy()) for _ in range(4)] == pytest.approx([0.1, 0.2, 0.3, None])
    assert state.failed_attempts == 4


def test_pauses_jitter_by_a_fifth() -> None:
    """So that clients that failed together do not come back together."""
    throttle = RetryThrottle(POLICY)
    assert RetryState(throttle, POLICY, no_deadline=False, jitter=lambda: 0.0).next_backoff_s(busy()) == pytest.approx(
        0.08
    )
    assert RetryState(throttle, POLICY, no_deadline=False, jitter=lambda: 1.0).next_backoff_s(busy()) == pytest.approx(
        0.12
    )


def test_the_servers_advice_comes_first() -> None:
    """And the pauses begin anew behind it; below zero means no."""
    state = begin()
    said = [state.next_backoff_s(failure) for failure in (busy(), busy(pushback_ms=700), busy())]
    assert said == pytest.approx([0.1, 0.7, 0.1])
    assert begin().next_backoff_s(busy(pushback_ms=-1)) is None


def test_advice_of_hours_ends_a_call_that_has_no_limit() -> None:
    """It would wait for them; one that has a limit waits until that. A minute is waited for."""
    for no_deadline, pushback_ms, expected in ((True, 60_000, 60.0), (True, 60_001, None), (False, 3_600_000, 3600.0)):
        state = RetryThrottle(POLICY).new_call(no_deadline=no_deadline)
        assert state.next_backoff_s(busy(pushback_ms=pushback_ms)) == expected


@pytest.mark.parametrize(
    ("retry", "failure"),
    [
        (None, busy()),
        (POLICY, busy(committed=True)),
        (POLICY, Http2RpcError(grpc.StatusCode.INTERNAL, "broken")),
        (POLICY, Http2RpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "late")),
    ],
)
def test_there_is_no_other_attempt(retry: Retry | None, failure: Http2RpcError) -> None:
    """Where nobody asked for it, where the answer had begun, and for all but UNAVAILABLE."""
    assert begin(retry).next_backoff_s(failure) is None


@pytest.mark.parametrize("retry", [None, POLICY])
def test_what_the_server_did_not_look_at_is_sent_again_at_once(retry: Retry | None) -> None:
    """Once, and it is no attempt."""
    state = begin(retry)
    assert state.next_backoff_s(busy(unprocessed=True)) == 0.0
    assert state.failed_attempts == 0
    assert state.next_backoff_s(busy(unprocessed=True)) == (None if retry is None else pytest.approx(0.1))


def test_many_failures_end_all_retries_until_calls_succeed_again() -> None:
    """Half of the budget is left for that."""
    retry = Retry(budget=4, tokens_per_success=0.5)
    throttle = RetryThrottle(retry)
    assert [throttle.new_call(no_deadline=False).next_backoff_s(busy()) is None for _ in range(4)] == [
        False,
        True,
        True,
        True,
    ]
    for _ in range(4):
        throttle.record_success()
    assert throttle.new_call(no_deadline=False).next_backoff_s(busy()) is None
    for _ in range(100):
        throttle.record_success()
    assert [throttle.new_call(no_deadline=False).next_backoff_s(busy()) is None for _ in range(2)] == [False, True]
    RetryThrottle(None).record_success()
