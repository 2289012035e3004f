"""When requests are meant to be sent."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sardonyx_server.load.arrivals import Arrivals, arrivals_s


@pytest.mark.parametrize("arrivals", Arrivals)
@pytest.mark.parametrize("worker_count", [1, 2, 3])
def test_the_parts_of_several_workers_are_one_schedule(arrivals: Arrivals, worker_count: int) -> None:
    """Nothing is sent twice or left out, whatever the number of processes."""
    whole = list(arrivals_s(arrivals, rate=333.0, duration_s=2.0, seed=5))
    parts = [
        list(
            arrivals_s(
                arrivals, rate=333.0, duration_s=2.0, seed=5, worker_index=worker_index, worker_count=worker_count
            )
        )
        for worker_index in range(worker_count)
    ]
    assert sorted(at_s for part in parts for at_s in part) == whole
    assert whole == sorted(whole)
    assert max(whole) < 2.0


def test_constant_arrivals_have_equal_gaps() -> None:
    """The first at once."""
    assert list(arrivals_s(Arrivals.CONSTANT, rate=4.0, duration_s=1.0, seed=0)) == [0.0, 0.25, 0.5, 0.75]


def test_a_burst_is_all_of_a_tenth_of_a_second_at_once() -> None:
    """At the same mean rate."""
    at = Counter(arrivals_s(Arrivals.BURST, rate=50.0, duration_s=0.4, seed=0))
    assert at == {0.0: 5, 0.1: 5, 0.2: 5, 0.3: 5}


def test_bursts_of_a_low_rate_are_single_requests() -> None:
    """The mean rate is kept."""
    assert list(arrivals_s(Arrivals.BURST, rate=2.0, duration_s=1.0, seed=0)) == [0.0, 0.5]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_callers() -> None:
    """20,000 expected: seven standard deviations are 1,000. The gaps' deviation is their mean."""
    at = list(arrivals_s(Arrivals.POISSON, rate=1000.0, duration_s=20.0, seed=3))
    assert 19_000 < len(at) < 21_000
    gaps = [after - before for before, after in itertools.pairwise(at)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation / mean == pytest.approx(1.0, abs=0.05)


def test_a_seed_gives_its_own_schedule() -> None:
    """The same one each time."""
    first, again, other = (
        list(arrivals_s(Arrivals.POISSON, rate=100.0, duration_s=1.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
