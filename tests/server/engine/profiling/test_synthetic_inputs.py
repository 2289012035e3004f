"""Inputs that are made up from a signature alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from sardonyx_server.engine.profiling.synthetic_inputs import Recipe, Values, random_tensor, recipes
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.sessions import spec

MIB = 1024 * 1024


def candidates(*inputs: TensorSpec, batched: bool = False, max_bytes: int = 64 * MIB) -> list[Recipe]:
    """All recipes for these inputs."""
    return list(recipes(inputs, batched=batched, max_bytes=max_bytes))


def shapes(*inputs: TensorSpec, batched: bool = False, max_bytes: int = 64 * MIB) -> list[tuple[tuple[int, ...], ...]]:
    """The shapes of all recipes, each once, in order."""
    return list(dict.fromkeys(each.shapes for each in candidates(*inputs, batched=batched, max_bytes=max_bytes)))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_has_its_own_dtype_and_values_that_differ(datatype: str) -> None:
    """The array is in the server's own form, of the shape asked for, and not all the same."""
    made = random_tensor(datatype, (5, 40), rng=np.random.default_rng(3))
    assert made.dtype == DATATYPES[datatype].dtype
    assert made.shape == (5, 40)
    assert len(set(made.ravel().tolist())) > 1


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_floats_are_between_zero_and_one(datatype: str) -> None:
    """No float is negative or above 1: logarithms and square roots work."""
    made = random_tensor(datatype, (1000,), rng=np.random.default_rng(0)).astype(np.float64)
    assert made.min() >= 0
    assert made.max() <= 1
    assert made.max() - made.min() > 0.9


def test_bf16_is_the_upper_half_of_a_float() -> None:
    """The bits, widened to FP32, are floats between 0 and 1."""
    bits = random_tensor("BF16", (1000,), rng=np.random.default_rng(0))
    floats = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    assert floats.min() >= 0
    assert floats.max() < 1
    assert floats.max() > 0.9


def test_whole_numbers_are_small() -> None:
    """They are 0 to 7, which most vocabularies have room for."""
    made = random_tensor("INT64", (1000,), rng=np.random.default_rng(0))
    assert set(made.tolist()) == set(range(8))


def test_strings_are_short_ascii_words() -> None:
    """BYTES are `str` objects of three letters."""
    made = random_tensor("BYTES", (2, 50), rng=np.random.default_rng(0))
    assert all(isinstance(word, str) and word.isascii() and len(word) == 3 for word in made.ravel())


@pytest.mark.parametrize(
    ("values", "numbers", "words"),
    [(Values.BINARY, {0, 1}, {"0", "1"}), (Values.ONE, {1}, {"1"})],
)
def test_narrower_values_are_digits_as_numbers_and_as_strings(
    values: Values, numbers: set[int], words: set[str]
) -> None:
    """Models that dislike 7 or words get 0 and 1, or only 1."""
    rng = np.random.default_rng(0)
    assert set(random_tensor("INT32", (50,), rng=rng, values=values).tolist()) == numbers
    assert set(random_tensor("BYTES", (50,), rng=rng, values=values).tolist()) == words


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_scalars_and_empty_tensors_are_made_too(datatype: str, shape: tuple[int, ...]) -> None:
    """No shape is special."""
    assert random_tensor(datatype, shape, rng=np.random.default_rng(0)).shape == shape


def test_a_closed_signature_has_one_recipe() -> None:
    """Where no dimension is open and floats only are taken, there is nothing to search."""
    (recipe,) = candidates(spec("x", "FP32", (-1, 4)), batched=True)
    assert recipe.shapes == ((4,),)
    assert recipe.input_shapes == {"x": (1, 4)}
    assert recipe.row_bytes == 16
    assert not recipe.guessed


def test_whole_numbers_are_tried_in_three_ranges() -> None:
    """Small ones first, then 0 and 1, then only 1."""
    tried = candidates(spec("x", "INT64", (-1, 4)), batched=True)
    assert [each.values for each in tried] == [Values.SMALL, Values.BINARY, Values.ONE]


def test_bf16_is_no_whole_number() -> None:
    """Its dtype is uint16, but there is only one kind of value to try."""
    assert len(candidates(spec("x", "BF16", (-1, 4)), batched=True)) == 1


def test_open_axes_of_one_name_get_one_size() -> None:
    """Tokens and mask share their length in every candidate."""
    ids = spec("ids", "INT64", (-1, -1), dim_names=("batch", "sequence"))
    mask = spec("mask", "INT64", (-1, -1), dim_names=("batch", "sequence"))
    tried = shapes(ids, mask, batched=True)
    assert tried[0] == ((64,), (64,))
    assert len(tried) > 10
    assert all(first == second for first, second in tried)
    assert candidates(ids, mask, batched=True)[0].guessed


def test_images_start_at_224() -> None:
    """Four axes mean an image: 3 channels where they are open."""
    assert shapes(spec("x", "FP32", (-1, 3, -1, -1)), batched=True)[0] == ((3, 224, 224),)
    assert shapes(spec("x", "FP32", (-1, -1, -1, -1)), batched=True)[0] == ((3, 224, 224),)
    assert ((1, 224, 224),) in shapes(spec("x", "FP32", (-1, -1, -1, -1)), batched=True)


def test_a_recurrent_state_gets_an_inner_axis_of_one() -> None:
    """A state that batches on axis 1 fits a first axis of 1 in some candidate."""
    tried = shapes(spec("input", "FP32", (-1, -1)), spec("state", "FP32", (2, -1, 128)), spec("sr", "INT64", ()))
    assert ((1, 512), (2, 1, 128), ()) in tried


def test_an_undeclared_rank_is_tried_in_several() -> None:
    """None as shape means that any rank may be right."""
    tried = shapes(spec("x", "FP32", None))
    assert tried[0] == ((1, 64),)
    assert {len(shape) for (shape,) in tried} == {0, 1, 2, 3, 4}


def test_optional_inputs_are_left_out() -> None:
    """What a caller may leave out is left out."""
    (recipe,) = candidates(spec("x"), spec("mask", optional=True), batched=True)
    assert recipe.names == ("x",)


def test_a_model_without_inputs_has_one_empty_recipe() -> None:
    """Its only run takes no feeds."""
    (recipe,) = candidates()
    assert recipe.feeds(rows=1, seed=0) == {}


def test_candidates_are_bounded_in_bytes() -> None:
    """What takes too much memory is passed over, before anything is made; Python's integers do not overflow."""
    assert candidates(spec("x", "FP32", (-1, 2**62, 4)), batched=True) == []
    assert max(each.row_bytes for each in candidates(spec("x", "FP64", (-1, -1)), max_bytes=1000)) <= 1000
    assert candidates(spec("x", "BYTES", (-1, 2**40)), batched=True) == []


def test_candidates_are_bounded_in_number() -> None:
    """Even a signature that leaves everything open ends."""
    specs = [spec(f"x{rank}", "INT64", (-1,) * rank) for rank in range(1, 6)]
    assert len(candidates(*specs, spec("any", "INT64", None))) <= 3 * 128


def test_the_same_seed_gives_the_same_feeds() -> None:
    """A verdict can be reproduced."""
    (recipe,) = candidates(spec("x"), spec("y", "FP64", (-1,)), batched=True)
    first, again, other = recipe.feeds(rows=3, seed=1), recipe.feeds(rows=3, seed=1), recipe.feeds(rows=3, seed=2)
    assert list(first) == ["x", "y"]
    assert first["x"].shape == (3, 4)
    assert np.array_equal(first["x"], again["x"])
    assert not np.array_equal(first["x"], other["x"])


def test_rows_of_one_draw_differ() -> None:
    """A model that mixes equal rows would look as if it did not mix them."""
    (recipe,) = candidates(spec("x", "FP16", (-1, 1)), batched=True)
    assert len(set(recipe.feeds(rows=8, seed=0)["x"].ravel().tolist())) == 8


def test_the_first_row_holds_the_greatest_number() -> None:
    """A vocabulary of five refuses the first row, not a row that comes late by chance."""
    tried = islice(recipes([spec("x", "UINT8", (-1, 3))], batched=True, max_bytes=MIB), 3)
    assert [each.feeds(rows=2, seed=0)["x"][0].tolist() for each in tried] == [[7, 7, 7], [1, 1, 1], [1, 1, 1]]
