"""Measures how often a session runs, and which of two ways to run a model is the faster. Opens no sessions itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import comb, inf
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "Candidate",
    "Comparison",
    "MeasureFastestRun",
    "MeasureThroughput",
    "Runnable",
    "compare",
    "fastest_run_s",
    "measure_throughput",
]

Feeds: TypeAlias = "Mapping[str, NDArray[Any]]"

# One look at a way: long enough for some runs, short enough that what disturbs the machine for a while disturbs both.
_ROUND_S: Final = 0.010
_RUNS_PER_ROUND: Final = 8
# Sign test: of two equally fast ways, one would win this clearly by chance in 1 of 32 tests. Five rounds with the same
# winner are enough.
_SIGNIFICANCE: Final = 1 / 32

# Runs that take a quarter more than the quickest, on average, have others beside them; then it takes more of them.
_DISTURBED: Final = 1.25
_EXTENSION: Final = 3


class Runnable(Protocol):
    """What of a session is needed to measure it."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In graph order."""

    def run(self, output_names: Sequence[str], feeds: Feeds) -> list[NDArray[np.generic]]:
        """From any thread."""

    def close(self) -> None:
        """No run is in progress."""


MeasureThroughput: TypeAlias = Callable[[Runnable, Feeds, int, float], float]
"""(session, feeds, runners, seconds) -> runs per second."""

MeasureFastestRun: TypeAlias = Callable[[Runnable, Feeds, float, float], float]
"""(session, feeds, enough_s, budget_s) -> seconds of the quickest run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to run a model: so many threads that share a session."""

    session: Runnable
    runners: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was measured of two ways.

    Attributes:
        runs_per_s: Of the first; the median of all rounds.
        ratio: Runs of the second for each of the first; likewise, each look by itself.
        rounds: At each of them.
    """

    runs_per_s: float
    ratio: float
    rounds: int


def compare(
    first: Candidate,
    second: Candidate,
    feeds: Feeds,
    *,
    enough: float,
    run_s: float,
    budget_s: float,
    measure: MeasureThroughput,
) -> Comparison:
    """Look at both in turn until it is clear whether the second is ``enough`` times as fast, or the time is over.

    In turn, because machines are shared: measured one after the other, the one that was disturbed lost. With magika,
    the slower of two ways was taken so, although the other answers 1.15 times as much (2026-11-26).

    Args:
        first: One way.
        second: The other.
        feeds: One typical batch; read by several threads at once.
        enough: A ratio.
        run_s: What one run of the first takes, about.
        budget_s: For all rounds. There is one at each at least.
        measure: Mostly :func:`measure_throughput`.

    Raises:
        Exception: Whatever a run raised.
    """
    round_s = min(max(_ROUND_S, _RUNS_PER_ROUND * run_s), budget_s / 2)
    # One run warms up, and the last ends late: together about one more.
    most = max(1, int(budget_s / (2 * (round_s + run_s))))
    rates: list[float] = []
    ratios: list[float] = []
    above = 0
    while len(ratios) < most and not _is_significant(above, len(ratios)):
        # Each comes first as often as the other: something that grows or ends meanwhile favours none.
        order = -1 if len(ratios) % 2 else 1
        one, other = [measure(each.session, feeds, each.runners, round_s) for each in (first, second)[::order]][::order]
        rates.append(one)
        ratios.append(other / one)
        above += other > one * enough
    return Comparison(runs_per_s=median(rates), ratio=median(ratios), rounds=len(ratios))


def measure_throughput(
    session: Runnable, feeds: Feeds, runners: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> float:
    """Runs per second of ``runners`` threads on one session. Blocks for about ``seconds``, and at least one run each.

    Raises:
        Exception: Whatever a run raised first, once all threads have ended.
    """
    names = [spec.name for spec in session.outputs]
    # By each thread's own time: one that waits for the last run of another is not slower for that.
    rates = [0.0] * runners
    failures: list[BaseException] = []

    def work(index: int) -> None:
        count = 0
        try:
            # The first run of a shape allocates its memory, and the first run of a thread has its own to allocate.
            session.run(names, feeds)
            begin_s = clock()
            while not failures:
                session.run(names, feeds)
                count += 1
                took_s = clock() - begin_s
                if took_s >= seconds:
                    rates[index] = count / max(took_s, 1e-9)
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
    return sum(rates)


def fastest_run_s(
    session: Runnable, feeds: Feeds, enough_s: float, budget_s: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of the quickest run on the calling thread: that which others disturbed least, whatever threads it has.

    Blocks for about ``budget_s``, or three times as long where others disturb the runs; for at least one run, and one
    before that to warm up. Ends with the first run that takes no more than ``enough_s``.

    Raises:
        Exception: Whatever a run raised.
    """
    names = [spec.name for spec in session.outputs]
    begin_s = clock()
    session.run(names, feeds)
    quickest_s, sum_s, count = inf, 0.0, 0
    while True:
        began_s = clock()
        session.run(names, feeds)
        ended_s = clock()
        quickest_s = min(quickest_s, ended_s - began_s)
        sum_s += ended_s - began_s
        count += 1
        limit_s = budget_s * (_EXTENSION if sum_s > count * quickest_s * _DISTURBED else 1)
        if quickest_s <= enough_s or ended_s + quickest_s > begin_s + limit_s:
            return quickest_s


def _is_significant(above: int, rounds: int) -> bool:
    """Whether so many rounds of all that were above, or not, are more than chance."""
    fewer = min(above, rounds - above)
    return sum(comb(rounds, count) for count in range(fewer + 1)) / (1 << rounds) <= _SIGNIFICANCE
