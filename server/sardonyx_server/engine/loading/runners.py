"""Decides who runs the batches of a model: on the lane itself, or by how many runners with how many threads each.

By the config where it says so, else by measurement; starts no threads of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.loading.alone import session_for_one
from sardonyx_server.engine.measuring.verdict import duration_text
from sardonyx_server.engine.priority import is_lowered
from sardonyx_server.runtime.splits import fastest, measure_split

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.loading.opening import Opening
    from sardonyx_server.engine.measuring.verdict import Verdict
    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.splits import Split

__all__ = [
    "INLINE_LIMIT_ONE_CORE_S",
    "INLINE_LIMIT_S",
    "LANE_RUN_S",
    "RunnerChoice",
    "Runners",
    "fed_by_one_lane",
    "rows_for_lane",
]

INLINE_LIMIT_S: Final = 0.0003
"""Longest batch that runs on the lane itself. A hand-over to a runner costs a third of the throughput of a tiny model;
a batch longer than this would keep the lane's other callers waiting for more than the hand-over costs."""

LANE_RUN_S: Final = 0.0006
"""Longest batch of a model with runners that runs on the lane itself, while it is the only model that is asked. In one
run an MLP at 8,100 requests a second had a p99 of 5.9 ms with 0.3 ms in place of this, 1.9 with 0.45 and 1.7 with 0.7;
with 3 ms, dense layers of 1.1 to 1.7 ms a run gained nothing (two cores, 2026-11-26)."""

INLINE_LIMIT_ONE_CORE_S: Final = 0.0006
"""The same as :data:`INLINE_LIMIT_S` where no core is left for a runner: lane and runner would take turns on it."""

# What one lane takes in beside a runner, one row a request (38,000/s with an MLP, 80,000/s of a tiny model without one,
# 2026-11-26). Runners beyond that need cut batches smaller and fight for the interpreter: two where one is enough cost
# an MLP a fifth of its throughput.
_LANE_ROWS_PER_S: Final = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """Who runs the batches.

    Attributes:
        sessions: One for each instance, or one that all runners share.
        count: How many; 0 = inline on the lane.
        reason: Why, for people.
        unread_rows: See BatchPolicy.
        lane_rows: Likewise.
        splits: Divisions of the cores that were measured for it, now or before; () where none was.
        wide: A session with a thread on each core, for a caller that is alone; None where that does not pay.
        widens: Whether it pays; None = not measured.
    """

    sessions: tuple[Session, ...]
    count: int
    reason: str
    unread_rows: int = 0
    lane_rows: int = 0
    splits: tuple[Split, ...] = ()
    wide: Session | None = None
    widens: bool | None = None

    @property
    def every_session(self) -> tuple[Session, ...]:
        """All that are open."""
        return self.sessions if self.wide is None else (*self.sessions, self.wide)


class RunnerChoice:
    """Chooses the runners of one version.

    Args:
        opening: Of the version.
        cores: To divide.
        threads_asked: Threads of one run that the config asks for; None leaves that to measurement.
        inlines: Whether there is a lane that can run models.
        budget_s: Time for measuring.
        splits: Divisions of the cores that were measured before for the same content; () = none.
        widens: What was found before of a caller that is alone; None = nothing.
        is_busy: Whether other models are being asked, who need the cores now.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        cores: int,
        threads_asked: int | None,
        inlines: bool,
        budget_s: float,
        splits: tuple[Split, ...],
        widens: bool | None,
        is_busy: Callable[[], bool],
    ) -> None:
        self._opening = opening
        self._cores = cores
        self._threads_asked = threads_asked
        self._inlines = inlines
        self._budget_s = budget_s
        self._splits = splits
        self._widens = widens
        self._is_busy = is_busy

    def choose(self, first: Session, verdict: Verdict, policy: BatchPolicy) -> Runners:
        """Decide. Blocks while it measures.

        Args:
            first: A session with one thread, or with as many as ``splits`` say. Is kept for the runners, or is closed.
            verdict: The probe's.
            policy: How the model batches.
        """
        instances = self._opening.placement.instances
        count = instances[0].count
        if not self._opening.on_cpu or len(instances) > 1:
            # A GPU's session belongs to one thread and one stream.
            sessions = [
                self._opening.open(instance.providers, threads=1)
                for instance in instances
                for _ in range(max(1, instance.count))
            ]
            first.close()
            return Runners(sessions=tuple(sessions), count=len(sessions), reason="one runner for each instance")
        threads = self._threads_asked
        batch_s = verdict.seconds(policy.max_rows)
        if count or threads:
            return self._asked(first, count or max(1, self._cores // (threads or 1)))
        if batch_s is None:
            return Runners(sessions=(first,), count=self._cores, reason="not measured: one runner for each core")
        inline_limit_s = INLINE_LIMIT_ONE_CORE_S if self._cores == 1 else INLINE_LIMIT_S
        if self._inlines and batch_s <= inline_limit_s and not verdict.guessed and policy.max_delay_s == 0:
            reason = f"inline: a full batch takes {duration_text(batch_s)}, less than a hand-over is worth"
            unread_rows = self._unread_rows(verdict, policy, inline_limit_s)
            if unread_rows:
                reason += f"; {unread_rows} rows at a time where they lie in shared memory"
            return Runners(sessions=(first,), count=0, reason=reason, unread_rows=unread_rows)
        return self._measured(first, verdict, policy)

    def _unread_rows(self, verdict: Verdict, policy: BatchPolicy, limit_s: float) -> int:
        """Of a model that runs on the lane, where the config leaves to the server what may share a run."""
        config = self._opening.spec.config
        is_free = self._opening.fixed_max_batch is None and config.WhichOneof("scheduling_choice") is None
        rows = verdict.unread_rows(limit_s) if verdict.batchable and is_free else 1
        return rows if rows > policy.max_rows else 0

    def _asked(self, first: Session, runners: int) -> Runners:
        threads = self._threads_asked or max(1, self._cores // runners)
        reason = f"as configured: {runners} x {threads} threads"
        session = first if first.threads == threads else self._opened_instead(first, threads)
        return Runners(sessions=(session,), count=runners, reason=reason)

    def _measured(self, first: Session, verdict: Verdict, policy: BatchPolicy) -> Runners:
        rows = verdict.tried_rows(min(policy.max_rows, verdict.best_rows))
        splits, session = self._splits, first
        if not splits and self._cores > 1 and self._is_busy():
            return self._unmeasured(first, verdict, rows)
        if not splits:
            providers = self._opening.placement.instances[0].providers
            measured = measure_split(
                lambda threads: first if threads == 1 else self._opening.open(providers, threads=threads, serves=False),
                self._opening.made_up(verdict, rows if policy.has_batch_axis else 1),
                cores=self._cores,
                run_s=verdict.seconds(rows) or 0.0,
                budget_s=self._budget_s,
            )
            splits, session = measured.table, measured.session
            if not splits:
                return Runners(sessions=(session,), count=measured.split.runners, reason="one core")
        best = fastest(splits)
        # Threads that measured beside serving have a low priority, and keep it.
        if best.threads > 1 and session is not first and is_lowered():
            session = self._opened_instead(session, best.threads)
        reason = "fastest of " + ", ".join(
            f"{split.runners} x {split.threads} threads: {split.runs_per_s * rows:.0f} rows/s" for split in splits
        )
        runners = fed_by_one_lane(
            Runners(sessions=(session,), count=best.runners, reason=reason, splits=splits),
            runner_rows_per_s=best.runs_per_s * rows / best.runners,
            alone_rows_per_s=rows / (verdict.seconds(rows) or math.inf) if best.threads == 1 else 0.0,
        )
        if policy.max_delay_s or policy.preferred_rows:
            return runners  # A batch that waits for more is for those who do not come alone.
        if self._inlines:
            runners = replace(runners, lane_rows=rows_for_lane(verdict, policy))
        wide, told = session_for_one(
            self._opening, session, verdict, cores=self._cores, budget_s=self._budget_s, known=self._widens
        )
        return replace(runners, wide=wide, widens=wide is not None, reason=runners.reason + told)

    def _unmeasured(self, first: Session, verdict: Verdict, rows: int) -> Runners:
        """What mostly wins. To measure it takes all cores for a second: of the calls of others, 3 % took over 2 ms."""
        run_s = verdict.seconds(rows)
        if run_s is None:
            raise AssertionError("bug: runners are chosen by time for a model without one")
        reason = f"{self._cores} x 1 threads: not measured, because other models were being asked"
        return fed_by_one_lane(
            Runners(sessions=(first,), count=self._cores, reason=reason),
            runner_rows_per_s=rows / run_s,
            alone_rows_per_s=rows / run_s,
        )

    def _opened_instead(self, session: Session, threads: int) -> Session:
        session.close()
        opened: Session = self._opening.open(self._opening.placement.instances[0].providers, threads=threads)
        return opened


def fed_by_one_lane(found: Runners, *, runner_rows_per_s: float, alone_rows_per_s: float) -> Runners:
    """The same without runners that would find nothing to do.

    Args:
        found: All that there are cores for.
        runner_rows_per_s: Of each of them, while all are at work.
        alone_rows_per_s: Of one that works alone, as the probe did, whose word holds on a busy machine as well; 0 where
            it did not run as they do.
    """
    enough = 1 if alone_rows_per_s >= _LANE_ROWS_PER_S else math.ceil(_LANE_ROWS_PER_S / runner_rows_per_s)
    if enough >= found.count:
        return found
    reason = f"{found.reason}; {enough} of these runners take all that one lane can bring"
    return replace(found, count=enough, reason=reason)


def rows_for_lane(verdict: Verdict, policy: BatchPolicy) -> int:
    """Most rows of a batch that is too short to be worth a hand-over to a runner; see UnderWay. 0 = none is."""
    # Runs that nobody can join had better be side by side.
    if not policy.joins or policy.max_delay_s or policy.preserve_ordering or verdict.guessed:
        return 0
    fitting = (rows for rows in range(policy.max_rows, 0, -1) if (verdict.seconds(rows) or math.inf) <= LANE_RUN_S)
    return next(fitting, 0)
