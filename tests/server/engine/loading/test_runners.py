"""How many runners one lane can feed, and which batches of a model with runners are for the lane itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sardonyx_server.engine.loading.runners import (
    LANE_BATCH_LIMIT_S,
    Runners,
    cap_at_lane_throughput,
    max_lane_rows,
    runs_inline,
)
from sardonyx_server.engine.profiling.verdict import CurvePoint, Verdict
from tests.server.engine.doubles import doubling, policy


def verdict(one_s: float, sixteen_s: float) -> Verdict:
    """Of a model whose runs take so long."""
    curve = (CurvePoint(rows=1, seconds=one_s), CurvePoint(rows=16, seconds=sixteen_s))
    return Verdict(batchable=True, reason="of a test", curve=curve, best_rows=16)


@pytest.mark.parametrize(
    ("one_s", "sixteen_s", "max_rows", "cores", "inline"),
    [
        (0.00001, 0.00029, 16, 2, True),
        (0.00001, 0.00031, 16, 2, False),
        (0.00001, 0.00059, 16, 1, True),
        (0.00001, 0.00061, 16, 1, False),
        (0.00005, 0.0008, 1, 2, True),
        (0.00013, 0.0020, 1, 2, False),  # each row has a core to itself for longer than its request has the lane
        (0.00013, 0.0020, 1, 16, False),
        (0.00013, 0.0020, 1, 1, True),
    ],
)
def test_a_model_needs_no_runners_where_a_batch_is_short_and_one_core_is_enough_for_its_rows(
    one_s: float, sixteen_s: float, max_rows: int, cores: int, inline: bool
) -> None:
    """An inline model has the lane's core and no other."""
    assert runs_inline(verdict(one_s, sixteen_s), policy(max_rows=max_rows), cores=cores) is inline


@pytest.mark.parametrize(
    ("found", "more"),
    [
        (replace(verdict(0.00001, 0.0001), guessed=True), {}),
        (replace(verdict(0.00001, 0.0001), curve=()), {}),
        (verdict(0.00001, 0.0001), {"max_delay_s": 0.001}),
    ],
    ids=["guessed", "unmeasured", "delayed"],
)
def test_a_short_batch_needs_runners_where_it_may_be_longer_or_waits(found: Verdict, more: dict[str, Any]) -> None:
    """The lane waits for nobody."""
    assert not runs_inline(found, policy(max_rows=16, **more), cores=2)


def test_those_that_run_for_a_short_time() -> None:
    """On the line between what was measured; a row more would take too long."""
    found = verdict(0.0001, 0.0016)
    rows = max_lane_rows(found, policy(max_rows=16))
    assert 0 < rows < 16
    assert (found.seconds(rows) or 0.0) <= LANE_BATCH_LIMIT_S < (found.seconds(rows + 1) or 0.0)


def test_all_where_the_largest_is_short() -> None:
    """No more than a batch may have."""
    assert max_lane_rows(verdict(0.0001, 0.0004), policy(max_rows=16)) == 16


@pytest.mark.parametrize(("one_s", "rows"), [(0.00009, 3), (0.00016, 1), (0.00029, 1)])
def test_of_those_that_share_no_runs_as_many_as_take_a_short_time_one_after_another(one_s: float, rows: int) -> None:
    """Whatever a batch would take: there is none."""
    assert max_lane_rows(verdict(one_s, 16 * one_s), policy(max_rows=16, dynamic_batching=False)) == rows


@pytest.mark.parametrize(
    ("found", "more"),
    [
        (verdict(0.001, 0.002), {}),
        (replace(verdict(0.0001, 0.0004), guessed=True), {}),
        (replace(verdict(0.0001, 0.0004), curve=()), {}),
        (verdict(0.00031, 0.0004), {"dynamic_batching": False}),
        (verdict(0.0001, 0.0004), {"dynamic_batching": False, "preserve_ordering": True}),
        (verdict(0.0001, 0.0004), {"max_delay_s": 0.001}),
        (verdict(0.0001, 0.0004), {"preserve_ordering": True}),
    ],
    ids=["slow", "guessed", "unmeasured", "alone", "alone and ordered", "delayed", "ordered"],
)
def test_none(found: Verdict, more: dict[str, Any]) -> None:
    """Where one row takes long, nobody knows how long, or the runners' way is what was asked for."""
    assert max_lane_rows(found, policy(max_rows=16, **more)) == 0


@pytest.mark.parametrize(
    ("each_per_s", "alone_per_s", "count"),
    [
        (25_000.0, 54_000.0, 1),  # they share the memory, or others had their cores: one alone is enough all the same
        (54_000.0, 54_000.0, 1),
        (25_000.0, 30_000.0, 2),
        (8_000.0, 9_000.0, 4),
        (25_000.0, 0.0, 2),
    ],
)
def test_runners_beyond_what_one_lane_can_bring_are_left_out(each_per_s: float, alone_per_s: float, count: int) -> None:
    """It brings 40,000 rows a second; of four cores, as many have a runner as it takes for that."""
    found = Runners(sessions=(doubling(),), count=4, reason="of a test")
    fed = cap_at_lane_throughput(found, runner_rows_per_s=each_per_s, single_runner_rows_per_s=alone_per_s)
    assert fed.count == count
    told = "" if count == 4 else f"; {count} of these runners take all that one lane can bring"
    assert fed.reason == "of a test" + told
