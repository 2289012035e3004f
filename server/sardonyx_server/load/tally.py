"""What one sending process counts during a run, and the form in which it tells its fleet. Sends nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from sardonyx_server.load.counts import Counts

__all__ = ["NOT_SENT", "SLIP_TOLERANCE_NS", "WRONG_ANSWER", "Tally"]

SLIP_TOLERANCE_NS: Final = 1_000_000
"""A request that is sent later than this after it was due counts as slipped: the generator was late, not the server."""

NOT_SENT: Final = "NOT_SENT"
"""Status of requests that were due while too many were under way."""
WRONG_ANSWER: Final = "WRONG_ANSWER"
"""Status of answers of another length than expected."""


class Tally:
    """Counts of one run in one process. Not thread-safe.

    Args:
        end_ns: When the time of the run is up, on the monotonic clock; later answers count, but not as in time.
    """

    __slots__ = ("_end_ns", "in_time", "last_ns", "late", "latencies", "max_late_ns", "sent", "statuses")

    def __init__(self, end_ns: int) -> None:
        self._end_ns = end_ns
        self.latencies = Counts()
        self.statuses: Counter[str] = Counter()
        self.sent = self.late = self.max_late_ns = self.in_time = self.last_ns = 0

    def due(self, due_ns: int, now_ns: int) -> None:
        """A request that was to be sent at ``due_ns`` is sent now."""
        self.sent += 1
        late_ns = now_ns - due_ns
        self.late += late_ns > SLIP_TOLERANCE_NS
        self.max_late_ns = max(self.max_late_ns, late_ns)

    def answered(self, due_ns: int, now_ns: int) -> None:
        """The answer to the request that was due then has come now."""
        self.latencies.record(now_ns - due_ns)
        self.last_ns = now_ns
        self.in_time += now_ns <= self._end_ns

    def failed(self, status: str, now_ns: int) -> None:
        """A request has failed now."""
        self.statuses[status] += 1
        self.last_ns = now_ns

    def so_far(self) -> dict[str, Any]:
        """For a display; costs as much as about two requests."""
        return self._counters() | {"latencies_ns": self.latencies.coarse()}

    def whole(self) -> dict[str, Any]:
        """Everything; of a run that has ended."""
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
