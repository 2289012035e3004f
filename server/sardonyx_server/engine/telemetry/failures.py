"""Requests that are answered with an error, counted by reasons that no caller chooses.

They are rarer than answers and come from any thread, so one lock keeps them.
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
"""Error -> Triton's reason of a failure, and why the request was refused (None: it was not, it was tried)."""

FAILURES: Final = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
"""Triton's reasons of failures: refused by the queue, given up by the caller, failed while running, anything else."""

REJECTIONS: Final = tuple(sorted({refused for _, refused in _KINDS.values() if refused is not None}))
"""Why requests are refused, or dropped before they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCounts:
    """What :class:`Failures` holds at one moment.

    Attributes:
        count: Requests.
        total_s: Their time from arrival to answer.
        failures: Each of FAILURES -> requests.
        rejections: Each of REJECTIONS -> requests.
        responses: Of the requests those that were sent on streams, but for those that nobody waited for any more.
        responses_s: Their time.
        cancelled_responses: Those on streams that nobody waited for any more.
        cancelled_responses_s: Their time.
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
    """Requests answered with an error, by fixed sets of reasons. Thread-safe."""

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
        """A request is about to be answered with an error.

        Args:
            error: Which one.
            after_s: Time since it came; 0 for one that never came into a queue.
            streamed: Whether it came on a stream.
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
        """As of now."""
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
