"""When a failed call is retried: gRPC's retry policy (proposal A6) with the numbers of ``Retry``. No I/O.

grpcio's own retries cannot be used for calls that this transport makes. gRPC's core counts only the attempts and
failures of its own channel: after a failure here it would make one attempt too many, and calls that succeed here would
not refill its retry throttle.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import grpc

from sardonyx_client._timeout import MAX_RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_client._http2.errors import Http2RpcError
    from sardonyx_client._options import Retry

__all__ = ["RetryState", "RetryThrottle"]

# As in gRPC's core.
_JITTER: Final = 0.2
_MS_PER_S: Final = 1000


class RetryThrottle:
    """gRPC's retry throttling: a token bucket that all calls share. Retries stop while it is at most half full.

    Threads share one without a lock: an update lost between two threads does no harm.

    Args:
        retry: The policy; None = never retry.
    """

    __slots__ = ("_per_success", "_retry", "_threshold", "_tokens")

    def __init__(self, retry: Retry | None) -> None:
        self._retry = retry
        self._tokens = 0.0 if retry is None else float(retry.budget)
        self._threshold = self._tokens / 2
        self._per_success = 0.0 if retry is None else retry.tokens_per_success

    def record_success(self) -> None:
        """A call succeeded: return a part of a token."""
        retry = self._retry
        if retry is not None and self._tokens < retry.budget:
            self._tokens = min(float(retry.budget), self._tokens + self._per_success)

    def record_failure(self) -> bool:
        """An attempt failed: take a token. Returns whether retries are still allowed."""
        self._tokens = max(0.0, self._tokens - 1)
        return self._tokens > self._threshold

    def new_call(self, *, no_deadline: bool) -> RetryState:
        """The retry state of a call whose first attempt has failed. ``no_deadline``: the call has no timeout."""
        return RetryState(self, self._retry, no_deadline=no_deadline)


class RetryState:
    """Attempts and backoff of one call.

    Args:
        throttle: Shared by all calls.
        retry: The policy; None = a single attempt.
        no_deadline: The call has no timeout. A server that asks for a delay of more than a minute then ends the call.
        jitter: Returns a number in [0, 1).

    Attributes:
        failed_attempts: Attempts that the server may have seen.
    """

    def __init__(
        self,
        throttle: RetryThrottle,
        retry: Retry | None,
        *,
        no_deadline: bool,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._throttle = throttle
        self._retry = retry
        self._no_deadline = no_deadline
        self._jitter = jitter
        self._backoff_s = 0.0 if retry is None else retry.initial_backoff_s
        self._retried_unprocessed = False
        self.failed_attempts = 0

    def next_backoff_s(self, failure: Http2RpcError) -> float | None:
        """Seconds to wait after a failed attempt before the next one; None = do not retry."""
        if failure.unprocessed and not self._retried_unprocessed:
            # A transparent retry: the server has not processed the request, so this does not count as an attempt. Only
            # once, because otherwise a server that refuses every stream would be asked forever.
            self._retried_unprocessed = True
            return 0.0
        self.failed_attempts += 1
        retry, pushback_ms = self._retry, failure.pushback_ms
        if retry is None:
            return None
        told_not_to_retry = pushback_ms is not None and pushback_ms < 0
        if failure.code() is not grpc.StatusCode.UNAVAILABLE and not told_not_to_retry:
            return None
        allowed = self._throttle.record_failure()
        if not allowed or told_not_to_retry or failure.committed or self.failed_attempts >= retry.max_attempts:
            return None
        if pushback_ms is not None:
            self._backoff_s = retry.initial_backoff_s
            retry_after_s = pushback_ms / _MS_PER_S
            return None if self._no_deadline and retry_after_s > MAX_RETRY_AFTER_S else retry_after_s
        backoff_s = self._backoff_s * (1 - _JITTER + 2 * _JITTER * self._jitter())
        self._backoff_s = min(self._backoff_s * retry.backoff_multiplier, retry.max_backoff_s)
        return backoff_s
