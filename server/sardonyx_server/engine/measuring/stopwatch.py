"""Times the runs of a model on a machine whose cores others use as well: the time that those had is not the run's.

A run without threads of its own takes no longer than its thread had a core. Elsewhere, and on systems that do not tell,
it takes what the clock says. Knows nothing of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.own_time import OwnTime

__all__ = ["Stopwatch"]

_T = TypeVar("_T")

# What others take of the core is not charged to the budget, but whoever waits for the model waits: so many budgets.
_MOST_LOST: Final = 3


class Stopwatch:
    """Times the runs of one session, and keeps a budget of time. Used by one thread.

    Args:
        session: Whose runs they are.
        clock: Seconds, monotonic.
        own: What the calling thread has had.
        budget_s: To spend from now on.

    Attributes:
        budget_s: As given.
    """

    def __init__(self, session: Session, *, clock: Callable[[], float], own: OwnTime, budget_s: float) -> None:
        self.budget_s = budget_s
        self._clock = clock
        self._own = own
        self._deadline_s = clock() + budget_s
        # What passed during runs and was not theirs.
        self._lost_s = 0.0
        self._has_one_thread = session.threads == 1 and session.provider == "CPUExecutionProvider"
        self._ran_alone = False

    @property
    def left_s(self) -> float:
        """Of the budget; less than 0 where it was overdrawn."""
        return self._deadline_s + min(self._lost_s, _MOST_LOST * self.budget_s) - self._clock()

    def affords(self, cost_s: float) -> bool:
        """Whether so much is left of the budget."""
        return cost_s <= self.left_s

    def grant(self, seconds: float) -> None:
        """Add to the budget."""
        self._deadline_s += seconds

    def time(self, run: Callable[[], _T]) -> tuple[_T, float]:
        """Call ``run``, which runs the session once.

        Returns:
            (what it returns, the seconds that it would have taken with a core to itself).

        Raises:
            Exception: Whatever it raised.
        """
        before = self._own()
        began_s = self._clock()
        found = run()
        passed_s = self._clock() - began_s
        after = self._own()
        # What leaves work to others, to a device or to threads that its session does not tell of, waits for them in
        # every run. Where one run did not, the waits of the rest are for the interpreter's lock.
        if self._has_one_thread and after.waits == before.waits:
            self._ran_alone = True
        # The lesser of both: to ask for the thread's time takes a microsecond or two, which some runs do not.
        took_s = min(passed_s, after.seconds - before.seconds) if self._ran_alone else passed_s
        self._lost_s += passed_s - took_s
        return found, took_s
