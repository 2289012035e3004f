"""The interval: where its centre is, how often it holds the truth, and what a wild repeat does to it."""

from __future__ import annotations

import numpy as np
import pytest

from bench.bootstrap import LEVEL, difference, ratio


def test_equal_figures_have_no_interval() -> None:
    """Where nothing varies nothing is chance."""
    found = ratio([2.0] * 8, [1.0] * 8, seed=1)
    assert (found.centre, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_what_holds_for_both_of_a_pair_cancels() -> None:
    """A machine that is ten times slower in every second pair changes nothing."""
    drift = [1.0, 10.0] * 6
    found = ratio([1.2 * factor for factor in drift], drift, seed=1)
    assert (found.low, found.high) == pytest.approx((1.2, 1.2))


def test_the_same_seed_gives_the_same_interval() -> None:
    """A stored run can be judged again."""
    ones, others = [1.0, 1.3, 0.9, 1.1, 1.2, 1.0], [1.0, 1.1, 1.0, 0.8, 1.0, 1.2]
    assert ratio(ones, others, seed=5) == ratio(ones, others, seed=5)


def test_one_wild_repeat_does_not_move_the_centre() -> None:
    """A fifth is left out at each end."""
    ones = [1.0] * 9 + [50.0]
    assert ratio(ones, [1.0] * 10, seed=1).centre == pytest.approx(1.0)


def test_figures_of_nothing_have_a_difference() -> None:
    """A stage may take no time at all."""
    found = difference([0.0, 0.0, 0.0, 3.0, 3.0, 3.0], [0.0] * 6, seed=1)
    assert 0.0 <= found.low <= found.centre <= found.high <= 3.0
    assert found.centre == pytest.approx(1.5)


@pytest.mark.parametrize("wild", [0.0, 0.1])
@pytest.mark.parametrize("repeats", [3, 6, 16])
def test_the_interval_holds_the_truth_as_often_as_it_says(repeats: int, wild: float) -> None:
    """200 comparisons of pairs whose true ratio is known; some noise is as a stall of the machine makes it."""
    rng = np.random.default_rng(20_240_229)
    held = 0
    for seed in range(200):
        stalls = rng.exponential(1.0, (2, repeats)) * (rng.random((2, repeats)) < wild)
        ones, others = np.exp(rng.normal(0, 0.1, (2, repeats)) + stalls)
        found = ratio((1.2 * ones).tolist(), others.tolist(), seed=seed)
        held += found.low <= 1.2 <= found.high
    # Of 200 comparisons 0.03 is two standard deviations of the share itself.
    assert held / 200 >= LEVEL - 0.03


def test_three_repeats_reach_beyond_themselves() -> None:
    """Each of three that are alike is above the truth in one case of eight."""
    found = ratio([1.1, 1.2, 1.3], [1.0, 1.0, 1.0], seed=1)
    assert found.low < 1.0
    assert found.high > 1.3


def test_one_repeat_has_no_interval() -> None:
    """Nobody knows how far the next one would be."""
    with pytest.raises(ValueError, match="an interval takes 2 repeats, got 1"):
        ratio([1.0], [1.0], seed=1)


def test_servers_that_differ_from_start_to_start_make_the_interval_wide() -> None:
    """Six repeats of one process say nothing of the next process: four starts of two kinds are four repeats."""
    ones = [1.3] * 6 + [1.0] * 6 + [1.3] * 6 + [1.0] * 6
    starts = [start for start in range(4) for _ in range(6)]
    apart, together = (ratio(ones, [1.0] * 24, seed=1, starts=given) for given in (starts, ()))
    assert apart.centre == together.centre
    assert (apart.low, apart.high) == pytest.approx((1.0, 1.3))
    assert 1.0 < together.low < together.high < 1.3
