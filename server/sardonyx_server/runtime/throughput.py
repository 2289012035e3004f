"""Measures the throughput of a session, and which of two ways to run a model is faster."""

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

# One measurement: long enough for several runs, short enough that a longer disturbance affects both candidates.
_ROUND_S: Final = 0.010
_RUNS_PER_ROUND: Final = 8
# Sign test: of two equally fast ways, one would win this clearly by chance in 1 of 32 tests. Five rounds with the same
# winner are enough.
_SIGNIFICANCE: Final = 1 / 32

# If runs take on average a quarter longer than the fastest, other load disturbs them, and more are measured.
_DISTURBED: Final = 1.25
_EXTENSION: Final = 3


class Runnable(Protocol):
    """The part of a session that is needed to measure it."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In graph order."""

    def run(self, output_names: Sequence[str], feeds: Feeds) -> list[NDArray[np.generic]]:
        """Run the session. Callable from any thread."""

    def close(self) -> None:
        """Close the session. Requires: no run is in progress."""


MeasureThroughput: TypeAlias = Callable[[Runnable, Feeds, int, float], float]
"""(session, feeds, runners, seconds) -> runs per second."""

MeasureFastestRun: TypeAlias = Callable[[Runnable, Feeds, float, float], float]
"""(session, feeds, enough_s, budget_s) -> seconds of the fastest run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to run a model: a session shared by a number of runner threads."""

    session: Runnable
    runners: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of comparing two candidates.

    Attributes:
        runs_per_s: Of the first; median of all rounds.
        ratio: Throughput of the second / of the first; median of the ratios of all rounds.
        rounds: Number of rounds.
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
    """Measure both alternately until it is significant whether the second is ``enough`` times as fast, or time is up.

    They alternate because machines are shared: measured one after the other, the one that is disturbed loses. With
    magika, the slower of two ways was selected that way, although the other had 1.15 times its throughput (2026-11-26).

    Args:
        first: One candidate.
        second: The other.
        feeds: One typical batch; read by several threads at once.
        enough: The ratio to decide on.
        run_s: Approximate duration of one run of the first.
        budget_s: Time for all rounds. There is at least one round.
        measure: Usually :func:`measure_throughput`.

    Raises:
        Exception: Whatever a run raised.
    """
    round_s = min(max(_ROUND_S, _RUNS_PER_ROUND * run_s), budget_s / 2)
    # The warm-up run and the overrun of the last run add about one run to each measurement.
    most = max(1, int(budget_s / (2 * (round_s + run_s))))
    rates: list[float] = []
    ratios: list[float] = []
    above = 0
    while len(ratios) < most and not _is_significant(above, len(ratios)):
        # Each is first equally often, so that a trend of the machine favours neither.
        order = -1 if len(ratios) % 2 else 1
        one, other = [measure(each.session, feeds, each.runners, round_s) for each in (first, second)[::order]][::order]
        rates.append(one)
        ratios.append(other / one)
        above += other > one * enough
    return Comparison(runs_per_s=median(rates), ratio=median(ratios), rounds=len(ratios))


def measure_throughput(
    session: Runnable, feeds: Feeds, runners: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> float:
    """Runs per second of ``runners`` threads on one session. Blocks for about ``seconds``, at least one run each.

    Raises:
        Exception: The first exception of a run, once all threads have ended.
    """
    names = [spec.name for spec in session.outputs]
    # Each thread's rate is over its own time, which does not include waiting for the last run of others.
    rates = [0.0] * runners
    failures: list[BaseException] = []

    def work(index: int) -> None:
        count = 0
        try:
            # Warm-up: the first run of a shape, and the first of a thread, allocate memory.
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
    """Seconds of the fastest run on the calling thread, which is the one that was disturbed least.

    Blocks for about ``budget_s``, or three times as long if other load disturbs the runs; at least for one warm-up run
    and one measured run. Ends with the first run that takes at most ``enough_s``.

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
    """Sign test: whether ``above`` of ``rounds`` is too far from half to be chance."""
    fewer = min(above, rounds - above)
    return sum(comb(rounds, count) for count in range(fewer + 1)) / (1 << rounds) <= _SIGNIFICANCE
