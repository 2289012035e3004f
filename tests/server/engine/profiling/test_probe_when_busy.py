"""What is found about a model on a machine that others use as well: the same as on one that is quiet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sardonyx_server.engine.profiling.probe import Verdict, probe
from sardonyx_server.runtime.thread_cpu_time import ThreadCpuTime
from tests.server.engine.profiling.probes import MS, affine, points, run_probe, session

# Milliseconds by rows: dense layers of 42 MB, which gain most; an MLP; a network that gains nothing; a tiny model.
DENSE = {1: 1.5, 2: 1.53, 3: 1.53, 4: 1.54, 8: 1.6, 16: 2.2, 32: 4.3, 64: 8.0}
MODELS: dict[str, Callable[[int, int], float]] = {
    "dense": lambda rows, _run: DENSE[rows] * MS,
    "mlp": affine(0.17 * MS, 0.03 * MS),
    "no gain": affine(0.1 * MS, 9.0 * MS),
    "tiny": affine(6e-6, 0.1e-6),
}


class Stretches:
    """Time that comes in stretches of random length, every other of which is the others'.

    Args:
        seed: Of the lengths.
        free_s: Of the stretches that are ours, on average.
        taken_s: Of those that are not.
    """

    def __init__(self, seed: int, *, free_s: float, taken_s: float) -> None:
        self._random = np.random.default_rng(seed)
        self._free_s, self._taken_s = free_s, taken_s
        self._left_s = self._random.exponential(free_s)

    def passes(self, cost_s: float) -> float:
        """What passes until we have had so much, in seconds."""
        passed_s = cost_s
        while cost_s > self._left_s:
            cost_s -= self._left_s
            passed_s += self._random.exponential(self._taken_s)
            self._left_s = self._random.exponential(self._free_s)
        self._left_s -= cost_s
        return passed_s


def probed_beside(cost_s: Callable[[int, int], float], others: Stretches) -> Verdict:
    """Probe a model whose thread has a core only in some stretches."""
    own_s = 0.0

    def passes(rows: int, run: int) -> float:
        nonlocal own_s
        own_s += cost_s(rows, run)
        return others.passes(cost_s(rows, run))

    model = session(cost_s=passes)
    return probe(model, clock=model.clock, own=lambda: ThreadCpuTime(own_s, 0))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", MODELS)
def test_others_that_take_half_of_all_time_change_nothing(name: str, seed: int) -> None:
    """In stretches of 3 ms, as Linux shares a core: no long run is left in one piece."""
    quiet = run_probe(session(cost_s=MODELS[name]))
    busy = probed_beside(MODELS[name], Stretches(seed, free_s=3 * MS, taken_s=3 * MS))
    assert points(busy) == points(quiet)
    assert busy.reason == quiet.reason
    assert busy.best_rows == quiet.best_rows


def test_dense_layers_gain_from_batches_of_many_rows() -> None:
    """What the test above compares with."""
    verdict = run_probe(session(cost_s=MODELS["dense"]))
    assert verdict.best_rows > 8


@pytest.mark.parametrize("seed", range(5))
def test_others_that_take_three_quarters_of_all_time_leave_the_largest_batch_tried(seed: int) -> None:
    """Their time is not charged to the budget."""
    busy = probed_beside(MODELS["dense"], Stretches(seed, free_s=3 * MS, taken_s=9 * MS))
    assert points(busy) == points(run_probe(session(cost_s=MODELS["dense"])))


@pytest.mark.parametrize("seed", range(10))
def test_others_that_slow_runs_down_for_a_while_do_not_end_the_curve(seed: int) -> None:
    """Who empties the caches may do so to all runs of one size, and our thread has the core all the same."""
    random = np.random.default_rng(seed)
    turns_s = 100.0 + np.cumsum(random.exponential(15 * MS, 400))
    quiet = session(cost_s=MODELS["dense"])
    model = session(
        cost_s=lambda rows, run: MODELS["dense"](rows, run) * (1.6 if turns_s.searchsorted(model.clock()) % 2 else 1)
    )
    assert run_probe(model).best_rows == run_probe(quiet).best_rows
