"""Times the runs of a model on a shared machine, without the time during which other processes had the core.

A run on a single thread is timed by the CPU time of that thread. Runs on several threads or on a device, and systems
that do not report CPU time, are timed by the wall clock. Knows nothing of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.thread_cpu_time import ReadThreadCpuTime

__all__ = ["RunTimer"]

_T = TypeVar("_T")

# Time taken by others is not charged to the budget, but the load waits all the same. This caps it, in budgets.
_MAX_LOST_BUDGETS: Final = 3


class RunTimer:
    """Times the runs of one session, and keeps a budget of time. Used by one thread.

    Args:
        session: The session that runs.
        clock: Seconds, monotonic.
        own: CPU time of the calling thread.
        budget_s: Time to spend from now on.

    Attributes:
        budget_s: As given.
    """

    def __init__(
        self, session: Session, *, clock: Callable[[], float], own: ReadThreadCpuTime, budget_s: float
    ) -> None:
        self.budget_s = budget_s
        self._clock = clock
        self._own = own
        self._deadline_s = clock() + budget_s
        # Time that passed during runs while others had the core.
        self._lost_s = 0.0
        self._has_one_thread = session.threads == 1 and session.provider == "CPUExecutionProvider"
        self._uses_cpu_time = False

    @property
    def left_s(self) -> float:
        """Rest of the budget; negative if it was overdrawn."""
        return self._deadline_s + min(self._lost_s, _MAX_LOST_BUDGETS * self.budget_s) - self._clock()

    def affords(self, cost_s: float) -> bool:
        """Whether at least so much of the budget is left."""
        return cost_s <= self.left_s

    def grant(self, seconds: float) -> None:
        """Add to the budget."""
        self._deadline_s += seconds

    def time(self, run: Callable[[], _T]) -> tuple[_T, float]:
        """Time a call of ``run``, which runs the session once.

        Returns:
            (result of ``run``, seconds that it would have taken with a core to itself).

        Raises:
            Exception: Whatever ``run`` raised.
        """
        before = self._own()
        began_s = self._clock()
        found = run()
        passed_s = self._clock() - began_s
        after = self._own()
        # A session that offloads work, to a device or to threads that it does not report, waits for them in every run.
        # If a single run did not wait, the waits of the others are for the GIL, and CPU time is the right measure.
        if self._has_one_thread and after.voluntary_switches == before.voluntary_switches:
            self._uses_cpu_time = True
        # The lesser of both: reading the CPU time takes a microsecond or two, more than some runs.
        took_s = min(passed_s, after.seconds - before.seconds) if self._uses_cpu_time else passed_s
        self._lost_s += passed_s - took_s
        return found, took_s
