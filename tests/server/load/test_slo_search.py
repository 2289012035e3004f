"""Which rates are tried, what counts as met, and how two servers take turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.compare import abba
from sardonyx_server.load.loops import ClosedLoop, Load
from sardonyx_server.load.rate_search import highest_rate
from sardonyx_server.load.report import Report
from sardonyx_server.load.slo_search import find_max_rate
from tests.server.load.fakes import report


@pytest.mark.parametrize("limit", [3.0, 90.0, 1000.0, 123_456.0])
@pytest.mark.parametrize("first", [1.0, 100.0, 50_000.0])
def test_the_highest_rate_is_found_from_wherever_the_search_begins(limit: float, first: float) -> None:
    """At most 5 % below the limit, never above it."""
    result = highest_rate(lambda rate: rate <= limit, first=first)
    assert limit / 1.05 <= result <= limit


def test_one_failure_does_not_end_the_climb() -> None:
    """Every other try fails: a rate fails only when it fails twice in a row."""
    tries = iter(range(1000))
    assert highest_rate(lambda rate: rate <= 400 and next(tries) % 2 == 1, first=100.0) >= 380


def test_where_nothing_holds_there_is_no_rate() -> None:
    """And the search ends."""
    assert highest_rate(lambda _rate: False, first=1000.0) == 0.0


def test_a_failed_request_misses_the_slo_however_fast_it_failed() -> None:
    """One in a hundred may be late or fail, not two."""
    assert report({0.001: 99, 0.5: 1}).meets(0.01)
    assert report({0.001: 99}, statuses={"UNAVAILABLE": 1}).meets(0.01)
    assert not report({0.001: 98, 0.5: 1}, statuses={"UNAVAILABLE": 1}).meets(0.01)
    assert not report({}).meets(0.01)


def test_a_run_with_more_than_one_percent_slip_does_not_count() -> None:
    """One percent is allowed."""
    assert report({0.001: 100}, late=1).is_valid
    assert not report({0.001: 100}, late=2).is_valid


class Server:
    """Fast up to a rate, slow above it; the generator is late above another."""

    def __init__(self, *, fast_to: float, punctual_to: float = 1e9) -> None:
        self._fast_to = fast_to
        self._punctual_to = punctual_to
        self.rates: list[float] = []

    def run(self, load: Load, duration_s: float, name: str) -> Report:
        """A thousand requests."""
        if isinstance(load, ClosedLoop):
            return report({0.001: 1000}, load=load)
        self.rates.append(load.rate)
        slow = 1 if load.rate <= self._fast_to else 500
        return report({0.001: 1000 - slow, 1.0: slow}, load=load, late=0 if load.rate <= self._punctual_to else 500)


def test_the_rate_within_the_slo_is_confirmed_and_every_trial_is_told() -> None:
    """The last trial is the confirmation."""
    server = Server(fast_to=700.0)
    result = find_max_rate(server.run, slo_s=0.01, duration_s=10.0, arrivals=Arrivals.POISSON, seed=0)
    assert 660 <= result.rate <= 700
    assert result.report is not None
    assert [trial.rate for trial in result.trials] == server.rates
    assert server.rates[-1] == result.rate
    assert not result.generator_was_late


def test_a_limit_of_the_generator_is_told_from_one_of_the_server() -> None:
    """The server might answer more."""
    result = find_max_rate(
        Server(fast_to=1e6, punctual_to=300.0).run, slo_s=0.01, duration_s=10.0, arrivals=Arrivals.POISSON, seed=0
    )
    assert 280 <= result.rate <= 300
    assert result.generator_was_late


def test_a_generator_that_is_always_late_ends_the_search_soon() -> None:
    """It finds nothing and says why."""
    server = Server(fast_to=1e6, punctual_to=0.0)
    result = find_max_rate(server.run, slo_s=0.01, duration_s=10.0, arrivals=Arrivals.POISSON, seed=0)
    assert (result.rate, result.report, result.generator_was_late) == (0.0, None, True)
    assert len(server.rates) == 12


def test_two_servers_take_turns_in_an_order_that_favours_neither() -> None:
    """A B B A in each round, with the same numbers for both."""
    order: list[str] = []

    def runs(name: str, latency_s: float) -> Callable[[int], Report]:
        def run(number: int) -> Report:
            order.append(f"{name}{number}")
            return report({latency_s: 10})

        return run

    compared = abba(runs("A", 0.001), runs("B", 0.002), rounds=2)
    assert order == ["A0", "B0", "B1", "A1", "A2", "B2", "B3", "A3"]
    assert (compared.first.sent, compared.second.sent) == (40, 40)
    assert {ratio.name: [round(one, 2) for one in ratio.known] for ratio in compared.ratios} == {
        "rate": [1.0, 1.0],
        "p50": [0.5, 0.5],
        "p99": [0.5, 0.5],
    }
