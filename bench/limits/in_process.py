"""onnxruntime in-process at its best: the time of each batch size, with all cores used in two ways. No server.

Run times of the simulated floor, and an upper bound of the rate of any server of the model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

__all__ = ["Costs", "best", "costs_of"]

_WARM_UP_RUNS: Final = 2
_LOWER_QUARTILE: Final = 0.25

Tensors = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of a run by its rows, while as many run at once as there are runners.

    Attributes:
        runners: Concurrent runs on one session.
        threads: onnxruntime threads of each run.
        run_s: Rows -> seconds, ascending, up to the largest batch size that pays off.
    """

    runners: int
    threads: int
    run_s: Mapping[int, float]

    def seconds(self, rows: int) -> float:
        """Seconds of a run of so many rows, interpolated between the measured sizes."""
        return float(np.interp(rows, list(self.run_s), list(self.run_s.values())))

    @property
    def best_rows(self) -> int:
        """The batch size with the highest throughput."""
        return min(self.run_s, key=lambda rows: self.run_s[rows] / rows)

    @property
    def rate(self) -> float:
        """Rows a second at that batch size."""
        return self.runners * self.best_rows / self.run_s[self.best_rows]


def best(costs: Sequence[Costs]) -> Costs:
    """The configuration with the highest throughput."""
    return max(costs, key=lambda one: one.rate)


def costs_of(file: Path, row: Tensors, *, cores: int, sizes: Sequence[int], budget_s: float) -> list[Costs]:
    """Measure a model with one run on each core, and with one run on all cores. Blocks for about the budget.

    Requires: nothing else runs on the machine.

    Args:
        file: The model.
        row: Input name -> array [1, ...].
        cores: Number of cores to use.
        sizes: Rows to try, ascending; larger ones are left out once rows no longer get cheaper.
        budget_s: Time to spend on all.
    """
    ways = [(cores, 1), (1, cores)] if cores > 1 else [(1, 1)]
    return [_measured(file, row, runners, threads, sizes, budget_s / len(ways)) for runners, threads in ways]


def _measured(file: Path, row: Tensors, runners: int, threads: int, sizes: Sequence[int], budget_s: float) -> Costs:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    run_s: dict[int, float] = {}
    for rows in sizes:
        feeds = {name: np.repeat(array, rows, axis=0) for name, array in row.items()}
        run_s[rows] = _seconds_of(session, names, feeds, runners, budget_s / len(sizes))
        if len(run_s) > 2 and run_s[rows] / rows > min(run_s[size] / size for size in run_s if size < rows):  # noqa: PLR2004  # one could be noise
            break
    return Costs(runners=runners, threads=threads, run_s=run_s)


def _seconds_of(
    session: ort.InferenceSession, names: Sequence[str], feeds: Tensors, runners: int, budget_s: float
) -> float:
    """Lower quartile of the seconds of a run while ``runners`` threads run it repeatedly.

    A mean would include whatever else the machine did meanwhile, and a bound that is too easy is useless.
    """
    for _ in range(_WARM_UP_RUNS):
        session.run(names, dict(feeds))
    found: list[float] = []
    start = threading.Barrier(runners)

    def run() -> None:
        start.wait()
        began_s = last_s = time.perf_counter()
        times_s: list[float] = []
        while not times_s or last_s - began_s < budget_s:
            session.run(names, dict(feeds))
            now_s = time.perf_counter()
            times_s.append(now_s - last_s)
            last_s = now_s
        found.extend(times_s)

    threads = [threading.Thread(target=run, name=f"runner-{index}") for index in range(runners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(np.quantile(found, _LOWER_QUARTILE))
