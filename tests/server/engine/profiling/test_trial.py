"""What rows do to each other: models that mix them, round, or roll dice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.server.engine.profiling.probes import points, run_probe, session
from tests.server.engine.sessions import spec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_rounding_is_told_from_mixing() -> None:
    """Kernels that differ by batch size leave the model batchable."""
    verdict = run_probe(session(lambda x: x + np.float32(1e-6 * (len(x) > 1))), max_rows=8)
    assert verdict.batchable
    assert verdict.reason.startswith("pays to 8 rows")


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x - x.mean(axis=0),
        lambda x: x - x[:1],
        lambda x: x - x[-1:],
        lambda x: np.sort(x, axis=0),
        lambda x: -np.sort(-x, axis=0),
        lambda x: np.cumsum(x, axis=0, dtype=np.float32),
        lambda x: np.flip(x, axis=0),
        lambda x: x / x.max(),
    ],
    ids=["mean", "first", "last", "ascending", "descending", "running sum", "flip", "scale"],
)
def test_models_that_mix_rows_are_found(mix: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Whatever way a row depends on its neighbours, the made-up rows show it."""
    verdict = run_probe(session(mix))
    assert not verdict.batchable
    assert verdict.reason.startswith("rows of output 'y' change when batched (difference ")
    assert points(verdict) == [(1, 1.0)]


def test_mixing_that_begins_at_a_larger_batch_is_found() -> None:
    """Every size on the curve is checked, not only the smallest."""
    verdict = run_probe(session(lambda x: x * 2 if len(x) < 16 else x * 3))
    assert not verdict.batchable
    assert verdict.reason.startswith("rows of output 'y' change when batched (difference ")


def test_the_difference_is_named() -> None:
    """The text is the one shown in the table."""
    verdict = run_probe(session(lambda x: x * 0 + np.float32(1 if len(x) == 1 else 1.12)))
    assert verdict.reason == "rows of output 'y' change when batched (difference 0.12)"


def test_whole_numbers_must_be_equal() -> None:
    """There is no rounding in a label."""
    labels = session(lambda x: np.arange(len(x)), output=spec("label", "INT64", (-1,)))
    assert run_probe(labels).reason == "rows of output 'label' change when batched (1 of 2 rows differ)"


def test_strings_must_be_equal() -> None:
    """Nor in a name."""
    names = session(lambda x: np.array([str(at) for at in range(len(x))], object), output=spec("n", "BYTES", (-1,)))
    assert run_probe(names).reason == "rows of output 'n' change when batched (1 of 2 rows differ)"


def test_nan_together_and_apart_is_equal() -> None:
    """A row of NaN equals itself."""
    assert run_probe(session(lambda x: x * np.float32(np.nan))).batchable


def test_nan_only_together_is_a_difference() -> None:
    """NaN is no rounding."""
    verdict = run_probe(session(lambda x: x if len(x) == 1 else x * np.float32(np.nan)))
    assert verdict.reason == "rows of output 'y' change when batched (difference inf)"


def test_an_output_without_a_row_for_each_row_is_final() -> None:
    """No configuration makes three detections into two answers."""
    detections = session(lambda x: np.concatenate([x, x]))
    for fixed in (None, 8):
        verdict = run_probe(detections, fixed_max_batch=fixed)
        assert not verdict.batchable
        assert verdict.reason == "output 'y' has shape [4,4] for 2 rows"
        assert verdict.best_rows == 1


def test_rows_that_change_their_shape_together_are_found() -> None:
    """Padding to the longest row of a batch shows in the shapes."""
    padded = session(lambda x: x.repeat(len(x), axis=1), output=spec("y", shape=(-1, -1)))
    assert run_probe(padded).reason == "rows of output 'y' change when batched (shape [1,4] alone, [1,8] together)"


def test_a_model_that_rolls_dice_is_called_so() -> None:
    """Two runs of one row say it."""
    rng = np.random.default_rng(0)
    verdict = run_probe(session(lambda x: rng.random(x.shape, dtype=np.float32)))
    assert not verdict.batchable
    assert verdict.reason.startswith("not deterministic: output 'y' changes between runs of one row (difference ")
    assert points(verdict) == [(1, 1.0)]


def test_dice_that_fell_alike_at_first_are_found_later() -> None:
    """A difference between together and apart is checked against a second run apart."""
    count = iter(range(1000))
    verdict = run_probe(session(lambda x: x * 0 + np.float32(next(count) // 3)))
    assert verdict.reason.startswith("not deterministic: output 'y' changes between runs of one row")


@pytest.mark.parametrize(("width", "outputs_from"), [(4, 1 << 30), (20_000, 16)])
def test_what_the_server_copies_of_a_batch_is_on_the_curve(width: int, outputs_from: int) -> None:
    """Inputs of any that share a run; large outputs of more than eight, since fewer are sent from where they lie."""
    wide = session(lambda x: np.repeat(x[:, :1], width, axis=1), output=spec("y", shape=(-1, width)))
    verdict = run_probe(wide, max_rows=16)
    row_bytes = [16 + (4 * width if rows >= outputs_from else 0) for rows in (2, 4, 8, 16)]
    assert [point.copied_bytes // point.rows for point in verdict.curve] == [0, *row_bytes]
