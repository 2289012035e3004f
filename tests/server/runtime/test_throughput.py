"""How often a session runs, and which of two is the faster: with stubs and clocks that tests move."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.runtime.throughput import Candidate, Comparison, compare, fastest_run_s, measure_throughput
from tests.server.runtime.stub_sessions import FEEDS, StubSession, ThreadClock

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1e-3


def compared(
    second: Sequence[float] | float, *, first: float = 100.0, run_s: float = 1 * MS, budget_s: float = 1.0
) -> tuple[Comparison, list[float]]:
    """Compare two ways, of which the second has these rates, one for each round; and how long each round was."""
    one, other = StubSession(), StubSession()
    rates = iter(second if not isinstance(second, float) else [second] * 1000)
    looks_s: list[float] = []

    def measure(session: Any, _feeds: Any, runners: int, seconds: float) -> float:
        assert runners == (2 if session is one else 1)
        looks_s.append(seconds)
        return first if session is one else next(rates)

    found = compare(
        Candidate(session=one, runners=2),
        Candidate(session=other, runners=1),
        FEEDS,
        enough=1.05,
        run_s=run_s,
        budget_s=budget_s,
        measure=measure,
    )
    return found, looks_s


@pytest.mark.parametrize("rate", [50.0, 104.0, 106.0, 200.0])
def test_five_looks_that_say_the_same_are_enough(rate: float) -> None:
    """By chance they would do so once in 32 times, and only where the two are equally good."""
    found, _ = compared(rate)
    assert found == Comparison(runs_per_s=100.0, ratio=rate / 100, rounds=5)


@pytest.mark.parametrize(
    ("rates", "rounds"),
    [
        ([80, 80, 120, 80, 80, 80, 80, 80, 80], 9),
        ([80, 120, 80, 120, 80, 80, 80, 80, 80, 80, 80, 80], 12),
        ([80, 80, 80, 80, 120, 80, 80, 80, 80], 9),
    ],
)
def test_looks_that_contradict_each_other_need_more(rates: list[float], rounds: int) -> None:
    """One in nine, or two in twelve, may have been disturbed."""
    found, _ = compared(rates)
    assert (found.rounds, found.ratio) == (rounds, 0.8)


def test_one_look_that_was_disturbed_says_nothing_of_how_fast_they_are() -> None:
    """Neither of the ratio, nor of the first's own rate: each is the median of all rounds."""
    rates = iter([100.0, 80.0, 80.0, 100.0, 100.0, 80.0, 80.0, 100.0, 10.0, 1.0])
    way = Candidate(session=StubSession(), runners=1)
    found = compare(way, way, FEEDS, enough=1.05, run_s=MS, budget_s=1.0, measure=lambda *_arguments: next(rates))
    assert found == Comparison(runs_per_s=100.0, ratio=0.8, rounds=5)


def test_what_stays_unclear_ends_with_the_time() -> None:
    """Then the median decides: of rounds of 10 ms, each with a run more, 45 pairs fit into a second."""
    found, looks_s = compared([104, 106] * 50)
    assert found.rounds == 45
    assert found.ratio == 1.04
    assert sum(looks_s) <= 1.0


@pytest.mark.parametrize(
    ("run_ms", "look_ms", "rounds"), [(0.1, 10, 5), (1, 10, 5), (5, 40, 5), (20, 160, 2), (50, 400, 1), (300, 500, 1)]
)
def test_long_runs_get_longer_looks_and_fewer(run_ms: float, look_ms: float, rounds: int) -> None:
    """Eight runs in each, as long as there is time; one round there always is."""
    found, looks_s = compared(50.0, run_s=run_ms * MS)
    assert looks_s == pytest.approx([look_ms * MS] * 2 * rounds)
    assert found.rounds == rounds


def test_a_rate_is_runs_by_time() -> None:
    """Each run takes a quarter of a second on the test's clock; the first one warms up and is not counted."""
    clock = ThreadClock(0.25)
    session = StubSession(on_run=clock.tick)
    assert measure_throughput(session, FEEDS, 1, 2.0, clock) == 4.0
    assert session.runs == 9


def test_every_runner_runs_at_least_once() -> None:
    """Even where one run outlasts the budget, and once before to warm up."""
    clock = ThreadClock(10)
    session = StubSession(on_run=clock.tick)
    assert measure_throughput(session, FEEDS, 3, 1.0, clock) == pytest.approx(3 / 10)
    assert session.runs == 6


def test_a_runner_that_is_done_is_not_charged_for_the_others() -> None:
    """Two runs of 2 s and two of 3 s within 4 s: short rounds would else favour ways with a single runner."""
    clock = ThreadClock(2, 3)
    session = StubSession(on_run=clock.tick)
    assert measure_throughput(session, FEEDS, 2, 4.0, clock) == pytest.approx(2 / 4 + 2 / 6)


@pytest.mark.parametrize(
    ("runs_ms", "quickest_ms", "runs"),
    [
        ([9, 3, 1], 3, 2),  # 9 warms up; 3 is enough
        ([9, 8, 2, 1], 2, 3),
        ([9, 8, 7, 8, 1], 7, 4),  # another of 7 would end after 35 ms
        ([90, 80], 80, 2),
        ([9, 8, 20, 8, 20, 8, 3], 3, 7),  # others are there: 35 ms and then some
        ([9, 8, 20, 8, 20, 8, 20, 8, 3], 8, 8),  # but not for ever
    ],
)
def test_the_quickest_run_ends_with_one_that_is_enough_or_with_the_time(
    runs_ms: list[float], quickest_ms: float, runs: int
) -> None:
    """Others disturb some runs, and 3 ms are enough here; there is at least one run and one to warm up."""
    now_s = [0.0]
    costs_ms = iter(runs_ms)

    def on_run() -> None:
        now_s[0] += next(costs_ms) * MS

    session = StubSession(2, on_run)
    found = fastest_run_s(session, FEEDS, 3.001 * MS, 35 * MS, lambda: now_s[0])
    assert found == pytest.approx(quickest_ms * MS)
    assert session.runs == runs


def test_what_a_run_raises_reaches_the_caller() -> None:
    """After all threads have ended."""
    calls = [0]

    def fail_later() -> None:
        calls[0] += 1
        if calls[0] > 1:
            raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        measure_throughput(StubSession(on_run=fail_later), FEEDS, 2, 1.0)
    assert threading.active_count() == before
