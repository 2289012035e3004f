"""The self-test's own judgement: when the gate has told a slowed server from an unchanged one."""

from __future__ import annotations

import pytest

from bench.gate.comparison import Comparison, compare_pairs
from bench.gate.self_test import injected_ratio, mistakes
from tests.bench.gate.points import pairs


def _unchanged() -> Comparison:
    return compare_pairs("unchanged", "chain", pairs(16), seed=1)


def _slowed() -> Comparison:
    return compare_pairs("a fifth slower", "chain", pairs(16, grown={"run": 1.2, "queue": 1.6}, p99_ratio=1.3), seed=1)


def test_a_gate_that_tells_them_apart_makes_no_mistake() -> None:
    """One holds, the other is slower because of its runs."""
    assert mistakes(_unchanged(), _slowed()) == []


def test_a_gate_that_finds_nothing_has_failed() -> None:
    """The planted slowdown is there."""
    assert mistakes(_unchanged(), compare_pairs("a fifth slower", "chain", pairs(16), seed=1)) == [
        "a fifth slower: expected 'slower', got 'no slower'"
    ]


def test_a_gate_that_cries_wolf_has_failed() -> None:
    """The same server is not slower than itself."""
    assert mistakes(compare_pairs("unchanged", "chain", pairs(16, p99_ratio=1.4), seed=1), _slowed()) == [
        "unchanged: expected 'no slower', got 'slower'"
    ]


def test_a_wrong_cause_is_a_mistake() -> None:
    """It was the run that was made slower."""
    wrong = compare_pairs("a fifth slower", "chain", pairs(16, grown={"transport": 2.0}, p99_ratio=1.4), seed=1)
    assert mistakes(_unchanged(), wrong) == ["a fifth slower: expected the cause 'run', got ['transport']"]


def test_what_was_planted_is_measured() -> None:
    """By the servers' own clocks, so that a self-test that plants nothing shows."""
    assert injected_ratio(_slowed()) == pytest.approx(1.2, abs=0.05)
