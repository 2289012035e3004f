"""Divides the cores between runners and the threads of a run, by measurement. Opens no sessions itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "MeasureRate",
    "MeasuredSplit",
    "Runnable",
    "Split",
    "candidate_splits",
    "fastest",
    "measure_rate",
    "measure_split",
]

Feeds: TypeAlias = "Mapping[str, NDArray[Any]]"

# Within this a measurement of some tenths of a second cannot tell two splits apart.
_TIE: Final = 0.05


class Runnable(Protocol):
    """What of a session is needed to measure it."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In graph order."""

    def run(self, output_names: Sequence[str], feeds: Feeds) -> list[NDArray[np.generic]]:
        """From any thread."""

    def close(self) -> None:
        """No run is in progress."""


MeasureRate: TypeAlias = Callable[[Runnable, Feeds, int, float], float]
"""(session, feeds, runners, seconds) -> runs per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """``runners`` threads that share one session, each run using ``threads``; ``runs_per_s`` 0 = not measured."""

    runners: int
    threads: int
    runs_per_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSplit:
    """The split that won, the session it was measured on (open), and all that were measured, in order."""

    split: Split
    session: Any
    table: tuple[Split, ...]


def candidate_splits(cores: int) -> tuple[Split, ...]:
    """Splits worth measuring, the most runners first: 2 -> 2x1, 1x2; 8 -> 8x1, 4x2, 2x4, 1x8; 6 -> 6x1, 3x2, 1x6."""
    splits = []
    threads = 1
    while cores // threads > 1:
        splits.append(Split(runners=cores // threads, threads=threads))
        threads *= 2
    return (*splits, Split(runners=1, threads=max(1, cores)))


def fastest(splits: Sequence[Split]) -> Split:
    """The split that wins. Requires: measured, at least one, with more and more threads per run.

    More threads must be over 5 % faster: they need a pool that spins, and let requests wait in line.
    """
    best = splits[0]
    for split in splits[1:]:
        if split.runs_per_s > best.runs_per_s * (1 + _TIE):
            best = split
    return best


def measure_split(
    open_with_threads: Callable[[int], Runnable],
    feeds: Feeds,
    *,
    cores: int,
    budget_s: float,
    measure: MeasureRate | None = None,
) -> MeasuredSplit:
    """Run every candidate at full load for its share of a time budget and keep the fastest.

    On the CPU several runners with one thread each mostly win: threads inside a run wait for each other.

    Args:
        open_with_threads: Intra-op threads -> session. What it raises goes on to the caller, with no session left open.
        feeds: One typical batch; read by several threads at once.
        cores: To divide; 1 needs no measurement.
        budget_s: For all candidates together, loads not counted. Each runs at least once on each runner.
        measure: None = :func:`measure_rate`.

    Returns:
        The winner with its session open; all others are closed. At most two are open at a time.
    """
    candidates = candidate_splits(cores)
    if len(candidates) == 1:
        return MeasuredSplit(split=candidates[0], session=open_with_threads(candidates[0].threads), table=())
    rate_of = measure or measure_rate
    table: list[Split] = []
    best: tuple[Split, Runnable] | None = None
    try:
        for candidate in candidates:
            session = open_with_threads(candidate.threads)
            try:
                rate = rate_of(session, feeds, candidate.runners, budget_s / len(candidates))
            except BaseException:
                session.close()
                raise
            measured = Split(runners=candidate.runners, threads=candidate.threads, runs_per_s=rate)
            table.append(measured)
            if best is None or fastest((best[0], measured)) is measured:
                if best is not None:
                    best[1].close()
                best = measured, session
            else:
                session.close()
    except BaseException:
        if best is not None:
            best[1].close()
        raise
    if best is None:
        raise AssertionError("bug: no split was measured")
    return MeasuredSplit(split=best[0], session=best[1], table=tuple(table))


def measure_rate(
    session: Runnable, feeds: Feeds, runners: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> float:
    """Runs per second of ``runners`` threads on one session. Blocks for about ``seconds``, and at least one run.

    Raises:
        Exception: Whatever a run raised first, once all threads have ended.
    """
    names = [spec.name for spec in session.outputs]
    # The first run of a shape allocates its memory, which later ones find.
    session.run(names, feeds)
    counts = [0] * runners
    failures: list[BaseException] = []
    begin = clock()
    deadline = begin + seconds

    def work(index: int) -> None:
        try:
            while not failures:
                session.run(names, feeds)
                counts[index] += 1
                if clock() >= deadline:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(index,), name=f"measure-{index}", daemon=True) for index in range(runners)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / max(clock() - begin, 1e-9)
