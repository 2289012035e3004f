"""The counters of one worker during a run, and their JSON form."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from sardonyx_server.load.histogram import LatencyHistogram

__all__ = ["NOT_SENT", "SLIP_TOLERANCE_NS", "WRONG_ANSWER", "RunCounters"]

SLIP_TOLERANCE_NS: Final = 1_000_000
"""A request sent later than this after it was due counts as late: the generator's fault, not the server's."""

NOT_SENT: Final = "NOT_SENT"
"""Status of requests that were due while too many were in flight."""
WRONG_ANSWER: Final = "WRONG_ANSWER"
"""Status of answers whose length differs from the expected one."""


class RunCounters:
    """Counters of one run in one worker. Not thread-safe.

    Args:
        end_ns: End of the run on the monotonic clock; later answers are counted, but not as in time.
    """

    __slots__ = ("_end_ns", "in_time", "last_ns", "late", "latencies", "max_late_ns", "sent", "statuses")

    def __init__(self, end_ns: int) -> None:
        self._end_ns = end_ns
        self.latencies = LatencyHistogram()
        self.statuses: Counter[str] = Counter()
        self.sent = self.late = self.max_late_ns = self.in_time = self.last_ns = 0

    def record_sent(self, due_ns: int, now_ns: int) -> None:
        """A request that was due at ``due_ns`` is sent now."""
        self.sent += 1
        late_ns = now_ns - due_ns
        self.late += late_ns > SLIP_TOLERANCE_NS
        self.max_late_ns = max(self.max_late_ns, late_ns)

    def record_answer(self, due_ns: int, now_ns: int) -> None:
        """The answer to a request that was due at ``due_ns`` has arrived now."""
        self.latencies.record(now_ns - due_ns)
        self.last_ns = now_ns
        self.in_time += now_ns <= self._end_ns

    def record_failure(self, status: str, now_ns: int) -> None:
        """A request has failed now."""
        self.statuses[status] += 1
        self.last_ns = now_ns

    def progress(self) -> dict[str, Any]:
        """Intermediate counters for a live display. Costs about as much as two requests."""
        return self._counters() | {"latencies_ns": self.latencies.coarse()}

    def totals(self) -> dict[str, Any]:
        """All counters, after the end of a run."""
        return self._counters() | {"in_time": self.in_time, "latencies_ns": self.latencies.by_value()}

    def _counters(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "late": self.late,
            "max_late_ns": self.max_late_ns,
            "statuses": dict(self.statuses),
            "last_ns": self.last_ns,
            "sum_ns": self.latencies.sum_ns,
            "max_ns": self.latencies.max_ns,
        }
