"""Divides the CPU cores among runners and intra-op threads by measuring the candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.runtime.throughput import Candidate, compare, measure_throughput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sardonyx_server.runtime.throughput import MeasureThroughput, Runnable

__all__ = ["MeasuredAllocation", "ThreadAllocation", "candidate_allocations", "fastest", "measure_allocation"]

# Differences below this cannot be distinguished by measurements of a few tenths of a second.
_TIE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadAllocation:
    """``runners`` threads share one session with ``threads`` intra-op threads each; ``runs_per_s`` 0 = not measured."""

    runners: int
    threads: int
    runs_per_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAllocation:
    """The fastest allocation, its open session, and all measured allocations in order."""

    allocation: ThreadAllocation
    session: Any
    table: tuple[ThreadAllocation, ...]


def candidate_allocations(cores: int) -> tuple[ThreadAllocation, ...]:
    """Allocations worth measuring, most runners first: 2 -> 2x1, 1x2; 8 -> 8x1, 4x2, 2x4, 1x8; 6 -> 6x1, 3x2, 1x6."""
    allocations = []
    threads = 1
    while cores // threads > 1:
        allocations.append(ThreadAllocation(runners=cores // threads, threads=threads))
        threads *= 2
    return (*allocations, ThreadAllocation(runners=1, threads=max(1, cores)))


def fastest(allocations: Sequence[ThreadAllocation]) -> ThreadAllocation:
    """The best allocation. Requires: at least one, measured, in ascending order of threads.

    More threads must be over 5 % faster: they need a spinning thread pool, and with fewer runners requests queue.
    """
    best = allocations[0]
    for allocation in allocations[1:]:
        if allocation.runs_per_s > best.runs_per_s * (1 + _TIE):
            best = allocation
    return best


def measure_allocation(
    open_with_threads: Callable[[int], Runnable],
    feeds: Mapping[str, NDArray[Any]],
    *,
    cores: int,
    run_s: float,
    budget_s: float,
    measure: MeasureThroughput | None = None,
) -> MeasuredAllocation:
    """Compare each candidate at full load with the fastest so far, in alternating rounds, until the result is clear.

    On the CPU several runners with one thread each usually win, since threads within a run wait for each other.

    Args:
        open_with_threads: Intra-op threads -> session. Its exceptions are passed on, with no session left open.
        feeds: One typical batch; read by several threads at once.
        cores: To divide; 1 needs no measurement.
        run_s: Approximate duration of one run of the batch with one thread.
        budget_s: For all candidates together, without load times. Each runs at least once on each runner.
        measure: None = :func:`measure_throughput`.

    Returns:
        The winner with its session open; all others are closed. At most two are open at a time. Each rate is that of
        the previous fastest times the measured ratio, since only the ratio was measured side by side.
    """
    candidates = candidate_allocations(cores)
    best, session = candidates[0], open_with_threads(candidates[0].threads)
    table: list[ThreadAllocation] = []
    for candidate in candidates[1:]:
        other: Runnable | None = None
        try:
            other = open_with_threads(candidate.threads)
            found = compare(
                Candidate(session=session, runners=best.runners),
                Candidate(session=other, runners=candidate.runners),
                feeds,
                enough=1 + _TIE,
                run_s=run_s,
                budget_s=budget_s / (len(candidates) - 1),
                measure=measure or measure_throughput,
            )
        except BaseException:
            session.close()
            if other is not None:
                other.close()
            raise
        if not table:
            best = replace(best, runs_per_s=found.runs_per_s)
            table.append(best)
        measured = replace(candidate, runs_per_s=best.runs_per_s * found.ratio)
        table.append(measured)
        if fastest((best, measured)) is measured:
            best, session, other = measured, other, session
        other.close()
    return MeasuredAllocation(allocation=best, session=session, table=tuple(table))
