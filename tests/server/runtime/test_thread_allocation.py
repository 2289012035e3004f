"""The allocation of cores to runners and threads, with a stub session and a clock that tests move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_server.runtime.session import open_session
from sardonyx_server.runtime.thread_allocation import (
    ThreadAllocation,
    candidate_allocations,
    fastest,
    measure_allocation,
)
from tests.server.runtime import models
from tests.server.runtime.stub_sessions import FEEDS, StubSession

if TYPE_CHECKING:
    from collections.abc import Mapping


class Machine:
    """Opens stubs whose rate is a table (runners, threads) -> runs per second."""

    def __init__(self, rates: Mapping[tuple[int, int], float]) -> None:
        self.rates = rates
        self.opened: list[StubSession] = []
        self.measured: list[tuple[int, float]] = []
        self.most_open = 0

    def open(self, threads: int) -> StubSession:
        """Remember it."""
        self.opened.append(StubSession(threads))
        self.most_open = max(self.most_open, sum(not session.closed for session in self.opened))
        return self.opened[-1]

    def measure(self, session: Any, feeds: Any, runners: int, seconds: float) -> float:
        """Look the rate up."""
        self.measured.append((runners, seconds))
        return self.rates[runners, session.threads]


@pytest.mark.parametrize(
    ("cores", "allocations"),
    [
        (1, [(1, 1)]),
        (2, [(2, 1), (1, 2)]),
        (3, [(3, 1), (1, 3)]),
        (4, [(4, 1), (2, 2), (1, 4)]),
        (6, [(6, 1), (3, 2), (1, 6)]),
        (8, [(8, 1), (4, 2), (2, 4), (1, 8)]),
    ],
)
def test_candidates(cores: int, allocations: list[tuple[int, int]]) -> None:
    """Halvings, the most runners first; never more threads than cores."""
    assert [(allocation.runners, allocation.threads) for allocation in candidate_allocations(cores)] == allocations


@pytest.mark.parametrize(
    ("rates", "winner"),
    [
        ({(4, 1): 100, (2, 2): 90, (1, 4): 50}, (4, 1)),
        ({(4, 1): 100, (2, 2): 120, (1, 4): 110}, (2, 2)),
        ({(4, 1): 100, (2, 2): 104, (1, 4): 104}, (4, 1)),
        ({(4, 1): 100, (2, 2): 104, (1, 4): 106}, (1, 4)),
        ({(4, 1): 1, (2, 2): 2, (1, 4): 3}, (1, 4)),
    ],
)
def test_the_fastest_wins_and_more_threads_must_win_clearly(
    rates: dict[tuple[int, int], float], winner: tuple[int, int]
) -> None:
    """Within 5 % it is a tie, and fewer threads per run are kept."""
    machine = Machine(rates)
    measured = measure_allocation(machine.open, FEEDS, cores=4, run_s=0.001, budget_s=2, measure=machine.measure)
    assert (measured.allocation.runners, measured.allocation.threads) == winner
    table = {(allocation.runners, allocation.threads): allocation.runs_per_s for allocation in measured.table}
    assert table == pytest.approx(rates)
    assert measured.session.threads == winner[1]
    assert [session.closed for session in machine.opened] == [
        int(one is not measured.session) for one in machine.opened
    ]
    assert machine.most_open <= 2


@pytest.mark.parametrize(("rates", "threads"), [((100, 105, 90), 1), ((100, 106, 110), 2), ((100, 90, 106), 4)])
def test_more_threads_must_win_clearly(rates: tuple[int, int, int], threads: int) -> None:
    """By more than 5 % over what has won so far."""
    allocations = [
        ThreadAllocation(runners=4 // count, threads=count, runs_per_s=rate)
        for count, rate in zip((1, 2, 4), rates, strict=True)
    ]
    assert fastest(allocations).threads == threads


def test_each_is_measured_in_turn_with_the_fastest_so_far() -> None:
    """Five times 10 ms of both, the one and the other first, are enough where they always say the same."""
    machine = Machine({(4, 1): 100, (2, 2): 120, (1, 4): 110})
    measure_allocation(machine.open, FEEDS, cores=4, run_s=0.001, budget_s=2, measure=machine.measure)
    runners = [runners for runners, _ in machine.measured]
    assert runners == [4, 2, 2, 4, 4, 2, 2, 4, 4, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1]
    assert {seconds for _, seconds in machine.measured} == {0.010}


def test_what_disturbs_the_machine_for_a_while_decides_nothing() -> None:
    """All runs of the first 60 ms take three times as long: those of both ways."""
    machine = Machine({(2, 1): 115, (1, 2): 100})
    spent = [0.0]

    def measure(session: Any, feeds: Any, runners: int, seconds: float) -> float:
        spent[0] += seconds
        return machine.measure(session, feeds, runners, seconds) / (3 if spent[0] < 0.060 else 1)

    measured = measure_allocation(machine.open, FEEDS, cores=2, run_s=0.001, budget_s=1, measure=measure)
    assert measured.allocation.runners == 2
    assert [allocation.runs_per_s for allocation in measured.table] == pytest.approx([115, 100])


def test_one_core_is_not_measured() -> None:
    """There is nothing to choose."""
    machine = Machine({})
    measured = measure_allocation(machine.open, FEEDS, cores=1, run_s=0.001, budget_s=3, measure=machine.measure)
    assert (measured.allocation, measured.table) == (ThreadAllocation(runners=1, threads=1), ())
    assert not measured.session.closed


def test_a_failure_leaves_no_session_open() -> None:
    """The model raises in the second allocation."""
    machine = Machine({(2, 1): 1})
    with pytest.raises(KeyError):
        measure_allocation(machine.open, FEEDS, cores=2, run_s=0.001, budget_s=1, measure=machine.measure)
    assert [session.closed for session in machine.opened] == [1, 1]


def test_a_real_model_is_measured() -> None:
    """With onnxruntime, for a moment."""
    model_bytes = models.convolution()
    measured = measure_allocation(
        lambda threads: open_session(name="m", model_bytes=model_bytes, threads=threads),
        {"x": np.ones((1, 3, 16, 16), np.float32)},
        cores=2,
        run_s=0.0001,
        budget_s=0.02,
    )
    assert all(allocation.runs_per_s > 0 for allocation in measured.table)
    assert measured.session.threads == measured.allocation.threads
    measured.session.close()
