"""The cost curve, what rules batching out, and the operator's word: on models with a clock moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_server.engine.profiling.probe import Verdict, batch_axis_refusal
from sardonyx_server.errors import ExecutionFailed
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.profiling.probes import MS, affine, failing, points, run_probe, session
from tests.server.engine.sessions import Arrays, Feeds, FunctionSession, spec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_a_run_that_costs_the_same_for_any_rows_pays_to_the_maximum() -> None:
    """S(b) is measured at powers of two; the best is the last."""
    verdict = run_probe(session(cost_s=affine(1.6 * MS, 0)), max_rows=16)
    assert points(verdict) == [(1, 1.6), (2, 1.6), (4, 1.6), (8, 1.6), (16, 1.6)]
    assert verdict.batchable
    assert verdict.best_rows == 16
    assert verdict.reason == "pays to 16 rows: 1.6 ms alone, 100 us a row"
    assert verdict.seconds(1) == pytest.approx(1.6 * MS)


def test_the_maximum_itself_is_measured_where_it_is_no_power_of_two() -> None:
    """The last point is max_rows."""
    verdict = run_probe(session(), max_rows=12)
    assert [rows for rows, _ in points(verdict)] == [1, 2, 4, 8, 12]


def test_the_best_batch_is_the_smallest_within_five_per_cent_of_the_cheapest() -> None:
    """With 1 ms + 1 ms a row, 16 rows cost 1.06 ms each: as good as 64 at 1.016."""
    verdict = run_probe(session(cost_s=affine(1 * MS, 1 * MS)), max_rows=64, budget_s=10.0)
    assert verdict.best_rows == 16
    assert verdict.reason == "pays to 16 rows: 2.0 ms alone, 1.1 ms a row"


def test_a_batch_whose_rows_take_as_long_as_alone_says_what_it_spares() -> None:
    """A run of 28 us is handled in 80: one handling for many rows pays though no row is cheaper."""
    verdict = run_probe(session(cost_s=lambda rows, _run: 28e-6 if rows == 1 else 30e-6 * rows), max_rows=16)
    assert verdict.best_rows > 1
    assert verdict.reason.endswith(" rows, for what it spares around a run: 28 us alone, 30 us a row")


def test_a_gain_below_a_tenth_does_not_pay() -> None:
    """At 5 % less for each row, the wait for a batch costs more."""
    verdict = run_probe(session(cost_s=affine(0.05 * MS, 0.95 * MS)), max_rows=64, budget_s=10.0)
    assert verdict.batchable
    assert verdict.best_rows == 1
    assert verdict.reason == "does not pay: 1.0 ms a row alone, 953 us in 16"


def test_measuring_stops_after_two_doublings_without_gain() -> None:
    """A cost that grows faster than the rows needs no third look."""
    verdict = run_probe(session(cost_s=lambda rows, _run: (5 * rows + 0.7 * (rows - 1)) * MS), max_rows=64)
    assert [rows for rows, _ in points(verdict)] == [1, 2, 4]
    assert verdict.reason == "does not pay: 5.0 ms a row alone, 5.3 ms in 2"


def test_one_flat_doubling_is_not_the_end() -> None:
    """A step in the curve does not hide what lies behind it."""
    costs = {1: 1.0, 2: 2.0, 3: 2.0, 4: 2.0, 8: 2.0}
    verdict = run_probe(session(cost_s=lambda rows, _run: costs[rows] * MS), max_rows=8)
    assert verdict.best_rows == 8
    assert verdict.reason == "pays to 8 rows: 1.0 ms alone, 250 us a row"


def test_the_first_run_of_each_size_is_not_counted() -> None:
    """A runtime plans its memory at the first run of a shape."""
    seen: set[int] = set()

    def cost_s(rows: int, _run: int) -> float:
        first = rows not in seen
        seen.add(rows)
        return 7 * MS if first else 1 * MS

    verdict = run_probe(session(cost_s=cost_s), max_rows=8)
    assert points(verdict) == [(1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0)]


def test_a_disturbed_run_does_not_move_the_curve() -> None:
    """The lowest of several runs counts: a disturbance only ever adds."""
    verdict = run_probe(session(cost_s=lambda _rows, run: (9 if run % 3 == 0 else 1) * MS), max_rows=8)
    assert points(verdict) == [(1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0)]


def test_a_fast_model_is_timed_fifteen_times_at_each_size() -> None:
    """Short runs are noisy, and cheap to repeat."""
    fast = session(cost_s=affine(6e-6, 0.1e-6))
    run_probe(fast, max_rows=4)
    assert fast.batches.count(4) == 1 + 15


def test_a_fast_model_is_probed_in_a_few_milliseconds() -> None:
    """A model of 6 us spends far less than 30 ms, by its own clock."""
    fast = session(cost_s=affine(6e-6, 0.1e-6))
    began_s = fast.clock()
    verdict = run_probe(fast)
    assert fast.clock() - began_s < 2 * MS
    assert verdict.best_rows == 64
    assert verdict.reason == "pays to 64 rows: 6.1 us alone, 0.19 us a row"


@pytest.mark.parametrize(
    ("single_ms", "sizes"), [(1, [1, 2, 4, 8]), (20, [1, 2, 4]), (49, [1, 2]), (80, [1, 2]), (90, [1]), (200, [1])]
)
def test_the_budget_holds_for_models_of_any_speed(single_ms: int, sizes: list[int]) -> None:
    """Only the very first run is not counted; slow models get fewer points."""
    slow = session(cost_s=affine(0, single_ms * MS))
    began_s = slow.clock()
    verdict = run_probe(slow, budget_s=0.5)
    assert slow.clock() - began_s <= 0.5 + (single_ms + 0.001) * MS
    assert [rows for rows, _ in points(verdict)] == sizes


def test_a_slow_first_run_does_not_use_up_the_budget() -> None:
    """A session that prepares for ten seconds is measured like any other."""
    verdict = run_probe(session(cost_s=lambda _rows, run: 10.0 if run == 0 else 1 * MS), max_rows=8)
    assert verdict.best_rows == 8


def test_a_model_too_slow_for_the_budget_is_not_batched_unchecked() -> None:
    """What was not checked is not claimed."""
    verdict = run_probe(session(cost_s=affine(0.31, 0)))
    assert not verdict.batchable
    assert verdict.reason == "not tried: one run takes 310 ms of the 500 ms for a probe; set max_batch_size to batch it"
    assert points(verdict) == [(1, 310.0)]


def test_a_row_too_large_for_two_stays_alone() -> None:
    """Inputs and outputs of one run stay within max_bytes."""
    verdict = run_probe(session(), max_bytes=2 * 32, max_rows=64)
    assert [rows for rows, _ in points(verdict)] == [1, 2]


def test_a_size_at_which_the_model_raises_ends_the_curve() -> None:
    """Too many rows for the memory: the sizes before have worked."""

    def answer(x: NDArray[Any]) -> NDArray[Any]:
        if len(x) > 8:
            raise ExecutionFailed("out of memory")
        return x

    verdict = run_probe(session(answer))
    assert verdict.batchable
    assert verdict.best_rows == 8


def test_a_limit_of_one_row_measures_one_row() -> None:
    """Nothing is run together."""
    one = session()
    verdict = run_probe(one, max_rows=1)
    assert set(one.batches) == {1}
    assert verdict.reason == "not measured in batches: 1.0 ms alone"


# --- signatures that rule batching out


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([spec("x"), spec("sr", "INT64", ())], [spec("y")], "input 'sr' is a scalar"),
        ([spec("x")], [spec("state", shape=(2, -1, 128))], "output 'state' has no dynamic first axis"),
        ([spec("x", shape=(1, 3))], [spec("y")], "input 'x' has a first axis fixed to 1"),
        ([spec("x", shape=None)], [spec("y")], "input 'x' declares no shape"),
        ([spec("x")], [spec("y", shape=None)], "output 'y' declares no shape"),
        ([], [spec("y")], "no input is required, so there is nothing to batch"),
        ([spec("x", optional=True)], [spec("y")], "no input is required, so there is nothing to batch"),
        (
            [spec("x", shape=(-1, -1), dim_names=("N", "N"))],
            [spec("y")],
            "input 'x' has its first axis 'N' more than once",
        ),
        ([spec("x\n", shape=())], [spec("y")], "input 'x\\n' is a scalar"),
    ],
)
def test_a_signature_without_a_batch_axis_names_the_tensor(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], reason: str
) -> None:
    """The reason names the first tensor in the way."""
    assert batch_axis_refusal(inputs, outputs) == reason


def test_an_output_declared_as_one_row_is_left_to_running_it() -> None:
    """Exporters that look at one row write so."""
    assert batch_axis_refusal([spec("x")], [spec("label", "INT64", (1,)), spec("y", shape=(1, 3))]) is None


def test_optional_inputs_do_not_rule_batching_out() -> None:
    """A model whose required inputs have a batch axis is probed."""
    assert batch_axis_refusal([spec("x"), spec("k", shape=(), optional=True)], [spec("y")]) is None


# --- models that cannot be run


def test_a_model_that_raises_is_not_batched_and_not_lost() -> None:
    """The verdict says why, in one line."""
    verdict = run_probe(FunctionSession([spec("x")], [spec("y")], failing))
    assert verdict == Verdict(batchable=False, reason="could not be probed: node 'Gather_3': index out of range")


def test_a_reason_stays_short() -> None:
    """Runtimes explain at length; a verdict is a cell of a table."""

    def answer(_: Feeds) -> Arrays:
        raise ExecutionFailed("x" * 10_000)

    assert len(run_probe(FunctionSession([spec("x")], [spec("y")], answer)).reason) < 250


def test_an_unforeseen_exception_tells_only_its_name() -> None:
    """Its text may hold paths."""

    def answer(_: Feeds) -> Arrays:
        raise MemoryError("/secret/place")

    verdict = run_probe(FunctionSession([spec("x")], [spec("y")], answer))
    assert verdict.reason == "could not be probed: the model raised MemoryError"


def test_a_model_without_batch_axis_that_raises_says_both() -> None:
    """Why it is not batched, and why its cost is unknown."""
    verdict = run_probe(FunctionSession([spec("x", shape=())], [spec("y")], failing))
    assert verdict.reason == "input 'x' is a scalar; could not be probed: node 'Gather_3': index out of range"


def test_a_model_that_takes_only_one_row_is_found() -> None:
    """A reshape to one row raises with two."""

    def answer(x: NDArray[Any]) -> NDArray[Any]:
        if len(x) > 1:
            raise ExecutionFailed("cannot reshape")
        return x

    verdict = run_probe(session(answer))
    assert verdict.reason == "its first axis is declared open, but 2 rows together fail: cannot reshape"
    assert not verdict.batchable
    assert [point.rows for point in verdict.curve] == [1]


def test_a_row_too_large_to_make_up_is_not_made() -> None:
    """The bound is named."""
    huge = FunctionSession([spec("x", shape=(-1, 2**40))], [spec("y")], failing)
    assert run_probe(huge).reason == "could not be probed: one row of its inputs takes more than 64 MiB"
    assert huge.batches == []


def test_the_search_for_inputs_ends_with_the_budget() -> None:
    """A model that is slow to refuse is not asked a hundred times."""
    slow = FunctionSession([spec("x", shape=(-1, -1))], [spec("y")], failing, cost_s=lambda _rows, _run: 0.2)
    run_probe(slow, budget_s=0.5)
    assert len(slow.batches) == 3


def test_an_open_axis_is_searched_until_the_model_runs() -> None:
    """The shapes that ran are in the verdict, and marked as a choice."""

    def answer(feeds: Feeds) -> Arrays:
        if feeds["x"].shape[1] != 13:
            raise ExecutionFailed("13 features expected")
        return [feeds["x"]]

    verdict = run_probe(FunctionSession([spec("x", shape=(-1, -1))], [spec("y", shape=(-1, -1))], answer))
    assert verdict.batchable
    assert dict(verdict.input_shapes) == {"x": (1, 13)}
    assert verdict.guessed


# --- the operator's word


def test_the_configured_maximum_is_the_best() -> None:
    """The operator's number stands where the probe would go further."""
    verdict = run_probe(session(), fixed_max_batch=4)
    assert verdict.best_rows == 4
    assert verdict.reason == "max_batch_size 4 by configuration: pays to 4 rows: 1.0 ms alone, 250 us a row"


def test_the_operator_overrules_what_was_found() -> None:
    """With a warning in the reason."""
    verdict = run_probe(session(lambda x: x * 0 + np.float32(1 if len(x) == 1 else 1.12)), fixed_max_batch=8)
    assert verdict.batchable
    assert verdict.best_rows == 8
    assert verdict.reason == (
        "max_batch_size 8 by configuration, although rows of output 'y' change when batched (difference 0.12)"
    )


def test_the_operator_vouches_for_a_model_that_cannot_be_probed() -> None:
    """Made-up inputs are not the operator's."""
    verdict = run_probe(FunctionSession([spec("x")], [spec("y")], failing), fixed_max_batch=8)
    assert verdict.batchable
    assert verdict.reason.startswith("max_batch_size 8 by configuration, although could not be probed: ")


def test_the_operator_can_forbid_batching() -> None:
    """0 means no batch axis; the cost is measured all the same."""
    verdict = run_probe(session(), fixed_max_batch=0)
    assert not verdict.batchable
    assert verdict.reason == "turned off: max_batch_size is 0 in the configuration"
    assert points(verdict) == [(1, 1.0)]


def test_the_operator_cannot_overrule_the_graph() -> None:
    """A model without batch axis stays without."""
    scalar = FunctionSession([spec("x", shape=())], [spec("y", shape=())], lambda feeds: [feeds["x"]])
    verdict = run_probe(scalar, fixed_max_batch=8)
    assert not verdict.batchable
    assert verdict.reason == "input 'x' is a scalar"
