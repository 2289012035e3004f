"""The split of cores into runners and threads, with a stub session and a clock that tests move."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_server.runtime.session import open_session
from sardonyx_server.runtime.splits import Split, candidate_splits, fastest, measure_rate, measure_split
from sardonyx_wire.tensors import TensorSpec
from tests.server.runtime import models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FEEDS = {"x": np.zeros(1, np.float32)}


class StubSession:
    """Counts its runs; each moves the clock, some raise."""

    def __init__(self, threads: int = 1, on_run: Callable[[], None] = lambda: None) -> None:
        self.outputs = (TensorSpec(name="y", datatype="FP32", shape=(-1,)),)
        self.threads = threads
        self.runs = 0
        self.closed = 0
        self._on_run = on_run
        self._lock = threading.Lock()

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Nothing comes out."""
        assert list(output_names) == ["y"]
        assert feeds is FEEDS
        with self._lock:
            self.runs += 1
            self._on_run()
        return []

    def close(self) -> None:
        """Counted."""
        self.closed += 1


class Machine:
    """Opens stubs whose rate is a table (runners, threads) -> runs per second."""

    def __init__(self, rates: Mapping[tuple[int, int], float]) -> None:
        self.rates = rates
        self.opened: list[StubSession] = []
        self.budgets: list[float] = []
        self.most_open = 0

    def open(self, threads: int) -> StubSession:
        """Remember it."""
        self.opened.append(StubSession(threads))
        self.most_open = max(self.most_open, sum(not session.closed for session in self.opened))
        return self.opened[-1]

    def measure(self, session: Any, feeds: Any, runners: int, seconds: float) -> float:
        """Look the rate up."""
        self.budgets.append(seconds)
        return self.rates[runners, session.threads]


@pytest.mark.parametrize(
    ("cores", "splits"),
    [
        (1, [(1, 1)]),
        (2, [(2, 1), (1, 2)]),
        (3, [(3, 1), (1, 3)]),
        (4, [(4, 1), (2, 2), (1, 4)]),
        (6, [(6, 1), (3, 2), (1, 6)]),
        (8, [(8, 1), (4, 2), (2, 4), (1, 8)]),
    ],
)
def test_candidates(cores: int, splits: list[tuple[int, int]]) -> None:
    """Halvings, the most runners first; never more threads than cores."""
    assert [(split.runners, split.threads) for split in candidate_splits(cores)] == splits


@pytest.mark.parametrize(
    ("rates", "winner"),
    [
        ({(4, 1): 100, (2, 2): 90, (1, 4): 50}, (4, 1)),
        ({(4, 1): 100, (2, 2): 120, (1, 4): 110}, (2, 2)),
        ({(4, 1): 100, (2, 2): 104, (1, 4): 104}, (4, 1)),
        ({(4, 1): 100, (2, 2): 104, (1, 4): 106}, (1, 4)),
        ({(4, 1): 0, (2, 2): 1, (1, 4): 2}, (1, 4)),
    ],
)
def test_the_fastest_wins_and_more_threads_must_win_clearly(
    rates: dict[tuple[int, int], float], winner: tuple[int, int]
) -> None:
    """Within 5 % it is a tie, and fewer threads per run are kept."""
    machine = Machine(rates)
    measured = measure_split(machine.open, FEEDS, cores=4, budget_s=3, measure=machine.measure)
    assert (measured.split.runners, measured.split.threads) == winner
    assert {(split.runners, split.threads): split.runs_per_s for split in measured.table} == rates
    assert machine.budgets == [1, 1, 1]
    assert measured.session.threads == winner[1]
    assert [session.closed for session in machine.opened] == [
        int(one is not measured.session) for one in machine.opened
    ]
    assert machine.most_open <= 2


@pytest.mark.parametrize(("rates", "threads"), [((100, 105, 90), 1), ((100, 106, 110), 2), ((100, 90, 106), 4)])
def test_more_threads_must_win_clearly(rates: tuple[int, int, int], threads: int) -> None:
    """By more than 5 % over what has won so far."""
    splits = [
        Split(runners=4 // count, threads=count, runs_per_s=rate) for count, rate in zip((1, 2, 4), rates, strict=True)
    ]
    assert fastest(splits).threads == threads


def test_one_core_is_not_measured() -> None:
    """There is nothing to choose."""
    machine = Machine({})
    measured = measure_split(machine.open, FEEDS, cores=1, budget_s=3, measure=machine.measure)
    assert (measured.split, measured.table) == (Split(runners=1, threads=1), ())
    assert not measured.session.closed


def test_a_failure_leaves_no_session_open() -> None:
    """The model raises in the second split."""
    machine = Machine({(2, 1): 1})
    with pytest.raises(KeyError):
        measure_split(machine.open, FEEDS, cores=2, budget_s=1, measure=machine.measure)
    assert [session.closed for session in machine.opened] == [1, 1]


def test_a_rate_is_runs_by_time() -> None:
    """Each run takes a quarter of a second on the test's clock; the first one warms up and is not counted."""
    now = [0.0]

    def tick() -> None:
        now[0] += 0.25

    session = StubSession(on_run=tick)
    assert measure_rate(session, FEEDS, 1, 2.0, lambda: now[0]) == 4.0
    assert session.runs == 9


def test_every_runner_runs_at_least_once() -> None:
    """Even where one run outlasts the budget."""
    now = [0.0]

    def tick() -> None:
        now[0] += 10

    session = StubSession(on_run=tick)
    assert measure_rate(session, FEEDS, 3, 1.0, lambda: now[0]) == pytest.approx(3 / 30)
    assert session.runs == 4


def test_what_a_run_raises_reaches_the_caller() -> None:
    """After all threads have ended."""
    calls = [0]

    def fail_later() -> None:
        calls[0] += 1
        if calls[0] > 1:
            raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        measure_rate(StubSession(on_run=fail_later), FEEDS, 2, 1.0)
    assert threading.active_count() == before


def test_a_real_model_is_measured() -> None:
    """With onnxruntime, for a moment."""
    model_bytes = models.convolution()
    measured = measure_split(
        lambda threads: open_session(name="m", model_bytes=model_bytes, threads=threads),
        {"x": np.ones((1, 3, 16, 16), np.float32)},
        cores=2,
        budget_s=0.02,
    )
    assert all(split.runs_per_s > 0 for split in measured.table)
    assert measured.session.threads == measured.split.threads
    measured.session.close()
