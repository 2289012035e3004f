"""A bar is passed by its whole interval, missed by its median, and not proven by what lies between."""

from __future__ import annotations

import pytest

from bench.bars import Bar, Outcome


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([], "none"),
        ([1.2], "pass"),
        ([0.9], "miss"),
        ([1.2, 1.21, 1.19, 1.2], "pass"),
        ([1.2, 0.8, 1.4, 1.3], "not proven"),
        ([0.9, 0.91, 0.89, 0.9], "miss"),
    ],
)
def test_the_doubt_is_ours_to_bear(values: list[float], verdict: str) -> None:
    """At least 1; one turn is judged as it is, since nobody knows how far the next would be."""
    assert Outcome(bar=Bar(name="rate", target=1.0), values=values, remark="").verdict == verdict


def test_at_most_is_judged_by_the_upper_end() -> None:
    """Figures that may be 0 have an interval too."""
    bar = Bar(name="idle", target=1.0, at_least=False, unit="%")
    assert Outcome(bar=bar, values=[0.0, 0.1, 0.0, 0.1], remark="").verdict == "pass"
    found = Outcome(bar=bar, values=[0.0, 0.9, 0.0, 1.8], remark="")
    assert found.verdict == "not proven"
    assert found.interval is not None
    assert found.interval[1] > 1.8


def test_the_table_shows_median_and_interval() -> None:
    """And the file of results has both ends."""
    found = Outcome(bar=Bar(name="rate", target=1.0), values=[2.0, 2.0, 2.0], remark="")
    assert found.reached == "2.00  (2.00 .. 2.00)"
    assert {name: found.as_json()[name] for name in ("median", "low", "high", "verdict")} == {
        "median": 2.0,
        "low": pytest.approx(2.0),
        "high": pytest.approx(2.0),
        "verdict": "pass",
    }
