"""Counters of requests that are answered with an error, by a fixed set of reasons.

Errors are rarer than answers and come from any thread, so one lock guards the counters.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sardonyx_server import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAILURES", "REJECTIONS", "FailureCounts", "Failures"]

_KINDS: Final[Mapping[type[Exception], tuple[str, str | None]]] = {
    errors.InvalidRequest: ("OTHER", "bad_request"),
    errors.NotFound: ("OTHER", "not_found"),
    errors.DeadlineExceeded: ("REJECTED", "deadline"),
    errors.Cancelled: ("CANCELED", "cancelled"),
    errors.Unauthenticated: ("OTHER", "not_allowed"),
    errors.Forbidden: ("OTHER", "not_allowed"),
    errors.CallerError: ("OTHER", "bad_request"),
    errors.QueueBytesFull: ("REJECTED", "queue_bytes"),
    errors.QueueTimeout: ("REJECTED", "queue_timeout"),
    errors.QueueTooLong: ("REJECTED", "queue_too_long"),
    errors.Overloaded: ("REJECTED", "queue_full"),
    errors.TryLater: ("OTHER", "unavailable"),
    errors.Unsupported: ("OTHER", "unsupported"),
    errors.ExecutionFailed: ("BACKEND", None),
    Exception: ("OTHER", None),
}
"""Error class -> (Triton's failure reason, reason of the rejection, or None if the request was executed)."""

FAILURES: Final = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
"""Triton's failure reasons: rejected by the queue, cancelled by the caller, failed while running, anything else."""

REJECTIONS: Final = tuple(sorted({refused for _, refused in _KINDS.values() if refused is not None}))
"""Reasons for which requests are refused, or dropped before they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCounts:
    """A snapshot of :class:`Failures`.

    Attributes:
        count: Number of failed requests.
        total_s: Total time from arrival to answer.
        failures: Each of FAILURES -> number of requests.
        rejections: Each of REJECTIONS -> number of requests.
        responses: Those on streams, except cancelled ones.
        responses_s: Total time of responses.
        cancelled_responses: Cancelled ones on streams.
        cancelled_responses_s: Total time of cancelled responses.
    """

    count: int
    total_s: float
    responses: int
    responses_s: float
    cancelled_responses: int
    cancelled_responses_s: float
    failures: Mapping[str, int]
    rejections: Mapping[str, int]


class Failures:
    """Counters of requests answered with an error. Thread-safe."""

    __slots__ = (
        "_cancelled",
        "_cancelled_s",
        "_failures",
        "_lock",
        "_rejections",
        "_responses",
        "_responses_s",
        "_total_s",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._responses = self._cancelled = 0
        self._total_s = self._responses_s = self._cancelled_s = 0.0
        self._failures: dict[str, int] = dict.fromkeys(FAILURES, 0)
        self._rejections = dict.fromkeys(REJECTIONS, 0)

    def count(self, error: Exception, after_s: float = 0.0, *, streamed: bool = False) -> None:
        """Count a request that is about to be answered with an error.

        Args:
            error: The error.
            after_s: Time since arrival; 0 for a request that was never queued.
            streamed: Whether it arrived on a stream.
        """
        failure, rejection = next(_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS)
        with self._lock:
            self._total_s += after_s
            self._failures[failure] += 1
            if rejection is not None:
                self._rejections[rejection] += 1
            if streamed and failure == "CANCELED":
                self._cancelled += 1
                self._cancelled_s += after_s
            elif streamed:
                self._responses += 1
                self._responses_s += after_s

    def counts(self) -> FailureCounts:
        """Take a snapshot."""
        with self._lock:
            return FailureCounts(
                count=sum(self._failures.values()),
                total_s=self._total_s,
                responses=self._responses,
                responses_s=self._responses_s,
                cancelled_responses=self._cancelled,
                cancelled_responses_s=self._cancelled_s,
                failures=MappingProxyType(self._failures.copy()),
                rejections=MappingProxyType(self._rejections.copy()),
            )
