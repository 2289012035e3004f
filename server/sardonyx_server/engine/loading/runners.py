"""Decides which threads run the batches of a model: the lane (inline), or how many runners with how many threads each.

The config decides where it says so, otherwise a measurement. Starts no threads itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.loading.latency_session import open_latency_session
from sardonyx_server.engine.priority import has_low_priority
from sardonyx_server.engine.profiling.verdict import duration_text
from sardonyx_server.runtime.thread_allocation import fastest, measure_allocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.loading.load_context import LoadContext
    from sardonyx_server.engine.profiling.verdict import Verdict
    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.thread_allocation import ThreadAllocation

__all__ = [
    "INLINE_LIMIT_ONE_CORE_S",
    "INLINE_LIMIT_S",
    "LANE_BATCH_LIMIT_S",
    "RunnerChoice",
    "Runners",
    "cap_at_lane_throughput",
    "inline_limit_s",
    "max_lane_rows",
    "runs_inline",
]

INLINE_LIMIT_S: Final = 0.0003
"""Longest full batch of an inline model. Handing batches to a runner costs a third of the throughput of a tiny model; a
batch longer than this would delay the lane's other callers by more than the hand-over costs."""

LANE_BATCH_LIMIT_S: Final = 0.0006
"""Longest batch of a model with runners that the lane runs itself, while no other model gets requests. In one run an
MLP at 8,100 requests/s had a p99 of 5.9 ms with a limit of 0.3 ms, 1.9 ms with 0.45 and 1.7 ms with 0.7; with 3 ms,
dense layers of 1.1 to 1.7 ms a run gained nothing (two cores, 2026-11-26)."""

INLINE_LIMIT_ONE_CORE_S: Final = 0.0006
""":data:`INLINE_LIMIT_S` on a machine with one core, which lane and runner would have to share."""

_ONE_CORE_IS_ENOUGH_S: Final = 60e-6
"""Most seconds per row of a full batch of an inline model, on more than one core, because an inline model uses only the
lane's. Below this, a row costs about as much as the lane spends on its request, and the hand-over would cost what
runners gain. With a run of 0.13 ms per request, 64 callers got 1.19 to 1.40 times the answers from runners on two cores
(2026-11-27)."""

# Requests of one row that one lane can receive next to a runner (38,000/s with an MLP; 80,000/s with a tiny inline
# model, 2026-11-26). Runners beyond what this rate needs make batches smaller and compete for the GIL: two where one is
# enough cost an MLP a fifth of its throughput.
_LANE_ROWS_PER_S: Final = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Runners:
    """The runners of a version and their sessions.

    Attributes:
        sessions: One for each instance, or one that all runners share.
        count: Number of runners; 0 = inline on the lane.
        reason: Why, for people.
        deferred_read_rows: See BatchPolicy.
        lane_rows: See BatchPolicy.
        splits: Measured splits of the cores, from now or from an earlier load; () where none was measured.
        latency_session: Session with a thread on each core, for sequential requests; None where it does not pay.
        latency_mode: Whether the latency session pays; None = not measured.
    """

    sessions: tuple[Session, ...]
    count: int
    reason: str
    deferred_read_rows: int = 0
    lane_rows: int = 0
    splits: tuple[ThreadAllocation, ...] = ()
    latency_session: Session | None = None
    latency_mode: bool | None = None

    @property
    def all_sessions(self) -> tuple[Session, ...]:
        """All open sessions."""
        return self.sessions if self.latency_session is None else (*self.sessions, self.latency_session)


class RunnerChoice:
    """Chooses the runners of one version.

    Args:
        context: The version that is loaded.
        cores: Number of cores to split.
        threads_asked: Intra-op threads that the config asks for; None = decided by measurement.
        allow_inline: Whether there is a lane that may run the model.
        budget_s: Time budget for measuring.
        splits: Splits of the cores as measured before for the same content; () = none.
        latency_mode: Whether the latency session paid for the same content; None = not measured.
        is_busy: Returns whether other models get requests, and so need the cores now.
    """

    def __init__(
        self,
        context: LoadContext,
        *,
        cores: int,
        threads_asked: int | None,
        allow_inline: bool,
        budget_s: float,
        splits: tuple[ThreadAllocation, ...],
        latency_mode: bool | None,
        is_busy: Callable[[], bool],
    ) -> None:
        self._context = context
        self._cores = cores
        self._threads_asked = threads_asked
        self._allow_inline = allow_inline
        self._budget_s = budget_s
        self._splits = splits
        self._latency_mode = latency_mode
        self._is_busy = is_busy

    def choose(self, first: Session, verdict: Verdict, policy: BatchPolicy) -> Runners:
        """Choose the runners. Blocks while it measures.

        Args:
            first: A session with one thread, or with as many as ``splits`` say. It is used for the runners, or closed.
            verdict: Result of the probe.
            policy: Batching policy of the model.
        """
        instances = self._context.placement.instances
        count = instances[0].count
        if not self._context.on_cpu or len(instances) > 1:
            # A session on a GPU belongs to one thread and one CUDA stream.
            sessions = [
                self._context.open_session(instance.providers, threads=1)
                for instance in instances
                for _ in range(max(1, instance.count))
            ]
            first.close()
            return Runners(sessions=tuple(sessions), count=len(sessions), reason="one runner for each instance")
        threads = self._threads_asked
        batch_s = verdict.seconds(policy.max_rows)
        if count or threads:
            return self._configured(first, count or max(1, self._cores // (threads or 1)))
        if batch_s is None:
            return Runners(sessions=(first,), count=self._cores, reason="not measured: one runner for each core")
        if self._allow_inline and runs_inline(verdict, policy, cores=self._cores):
            reason = f"inline: a full batch takes {duration_text(batch_s)}, less than a hand-over is worth"
            deferred_read_rows = self._unread_rows(verdict, policy, inline_limit_s(self._cores))
            if deferred_read_rows:
                reason += f"; {deferred_read_rows} rows at a time where they lie in shared memory"
            return Runners(sessions=(first,), count=0, reason=reason, deferred_read_rows=deferred_read_rows)
        return self._measured(first, verdict, policy)

    def _unread_rows(self, verdict: Verdict, policy: BatchPolicy, limit_s: float) -> int:
        """Return ``deferred_read_rows`` of an inline model whose config leaves batching to the server."""
        config = self._context.spec.config
        is_open = self._context.fixed_max_batch is None and config.WhichOneof("scheduling_choice") is None
        rows = verdict.deferred_read_rows(limit_s) if verdict.batchable and is_open else 1
        return rows if rows > policy.max_rows else 0

    def _configured(self, first: Session, runners: int) -> Runners:
        threads = self._threads_asked or max(1, self._cores // runners)
        reason = f"as configured: {runners} x {threads} threads"
        session = first if first.threads == threads else self._reopen(first, threads)
        return Runners(sessions=(session,), count=runners, reason=reason)

    def _measured(self, first: Session, verdict: Verdict, policy: BatchPolicy) -> Runners:
        rows = verdict.measured_rows(min(policy.max_rows, verdict.best_rows))
        splits, session = self._splits, first
        if not splits and self._cores > 1 and self._is_busy():
            return self._unmeasured(first, verdict, policy, rows)
        if not splits:
            providers = self._context.placement.instances[0].providers
            measured = measure_allocation(
                lambda threads: (
                    first if threads == 1 else self._context.open_session(providers, threads=threads, serves=False)
                ),
                self._context.random_inputs(verdict, rows if policy.has_batch_axis else 1),
                cores=self._cores,
                run_s=verdict.seconds(rows) or 0.0,
                budget_s=self._budget_s,
            )
            splits, session = measured.table, measured.session
            if not splits:
                return Runners(sessions=(session,), count=measured.allocation.runners, reason="one core")
        best = fastest(splits)
        # Intra-op threads started while serving have low priority permanently: open the session again with normal ones.
        if best.threads > 1 and session is not first and has_low_priority():
            session = self._reopen(session, best.threads)
        reason = "fastest of " + ", ".join(
            f"{split.runners} x {split.threads} threads: {split.runs_per_s * rows:.0f} rows/s" for split in splits
        )
        runners = cap_at_lane_throughput(
            Runners(sessions=(session,), count=best.runners, reason=reason, splits=splits),
            runner_rows_per_s=best.runs_per_s * rows / best.runners,
            single_runner_rows_per_s=rows / (verdict.seconds(rows) or math.inf) if best.threads == 1 else 0.0,
        )
        if policy.max_delay_s or policy.preferred_rows:
            return runners  # A config that delays batches is not meant for sequential requests.
        runners = replace(runners, lane_rows=self._lane_rows(verdict, policy))
        latency_session, text = open_latency_session(
            self._context, session, verdict, cores=self._cores, budget_s=self._budget_s, known=self._latency_mode
        )
        return replace(
            runners,
            latency_session=latency_session,
            latency_mode=latency_session is not None,
            reason=runners.reason + text,
        )

    def _unmeasured(self, first: Session, verdict: Verdict, policy: BatchPolicy, rows: int) -> Runners:
        """Choose the usual winner. Measuring uses all cores for a second: 3 % of the calls of others took over 2 ms."""
        run_s = verdict.seconds(rows)
        if run_s is None:
            raise AssertionError("bug: runners are chosen by time for a model without one")
        reason = f"{self._cores} x 1 threads: not measured, because other models were being asked"
        return cap_at_lane_throughput(
            Runners(sessions=(first,), count=self._cores, reason=reason, lane_rows=self._lane_rows(verdict, policy)),
            runner_rows_per_s=rows / run_s,
            single_runner_rows_per_s=rows / run_s,
        )

    def _lane_rows(self, verdict: Verdict, policy: BatchPolicy) -> int:
        # A config that asks for batches of certain sizes is not meant for sequential requests.
        return max_lane_rows(verdict, policy) if self._allow_inline and not policy.preferred_rows else 0

    def _reopen(self, session: Session, threads: int) -> Session:
        session.close()
        opened: Session = self._context.open_session(self._context.placement.instances[0].providers, threads=threads)
        return opened


def cap_at_lane_throughput(found: Runners, *, runner_rows_per_s: float, single_runner_rows_per_s: float) -> Runners:
    """Reduce the number of runners to what one lane can keep busy.

    Args:
        found: As many runners as there are cores for.
        runner_rows_per_s: Throughput of each runner while all run.
        single_runner_rows_per_s: Throughput of a single runner according to the probe, which is reliable on a busy
            machine as well; 0 where the probe ran with another number of threads.
    """
    enough = 1 if single_runner_rows_per_s >= _LANE_ROWS_PER_S else math.ceil(_LANE_ROWS_PER_S / runner_rows_per_s)
    if enough >= found.count:
        return found
    reason = f"{found.reason}; {enough} of these runners take all that one lane can bring"
    return replace(found, count=enough, reason=reason)


def inline_limit_s(cores: int) -> float:
    """Longest full batch of an inline model, in seconds."""
    return INLINE_LIMIT_ONE_CORE_S if cores == 1 else INLINE_LIMIT_S


def runs_inline(verdict: Verdict, policy: BatchPolicy, *, cores: int) -> bool:
    """Whether the lane is to run all batches of a model, so that it needs no runners.

    Args:
        verdict: Result of the probe.
        policy: Batching policy of the model.
        cores: That the server may use.
    """
    batch_s = verdict.seconds(policy.max_rows)
    if batch_s is None or verdict.guessed or policy.max_delay_s:
        return False
    is_one_core_enough = cores == 1 or batch_s / policy.max_rows <= _ONE_CORE_IS_ENOUGH_S
    return is_one_core_enough and batch_s <= inline_limit_s(cores)


def max_lane_rows(verdict: Verdict, policy: BatchPolicy) -> int:
    """Most pending rows that are too few to be worth a hand-over to a runner; see InFlightBatches. 0 = none.

    Where requests share runs, these are the rows of one batch. Otherwise they are run one after another, which runners
    would do in parallel; so no more than take as long as a full batch of an inline model may.
    """
    if policy.max_delay_s or policy.preserve_ordering or verdict.guessed:
        return 0
    if not policy.dynamic_batching:
        return int(INLINE_LIMIT_S / (verdict.seconds(1) or math.inf))
    fitting = (
        rows for rows in range(policy.max_rows, 0, -1) if (verdict.seconds(rows) or math.inf) <= LANE_BATCH_LIMIT_S
    )
    return next(fitting, 0)
