"""Arrays of a run -> raw contents of each request's rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.engine.requests.outputs import BatchOutputs
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import encode_bytes_elements
from tests.server.engine.doubles import Array

NUMBERS = [name for name, datatype in DATATYPES.items() if datatype.itemsize]


@pytest.mark.parametrize("name", NUMBERS)
def test_rows_of_numbers_are_their_bytes(name: str) -> None:
    """Of every datatype: row-major, little-endian, as numpy holds them."""
    array = np.random.default_rng(0).integers(0, 2, (5, 3, 2)).astype(DATATYPES[name].dtype)
    outputs = BatchOutputs([array], has_batch_axis=True, began_s=0.0, ran_s=0.0)
    assert outputs.row_shapes == ((3, 2),)
    assert bytes(outputs.rows(1, 4)[0]) == array[1:4].tobytes()


def test_rows_of_large_outputs_are_views() -> None:
    """Nothing is copied before the answer is joined."""
    array = np.zeros((4, 20_000), np.float32)
    (view,) = BatchOutputs([array], has_batch_axis=True, began_s=0.0, ran_s=0.0).rows(1, 2)
    assert isinstance(view, memoryview)
    array[1] = 7
    assert bytes(view) == array[1].tobytes()


def test_a_small_share_of_large_outputs_is_copied() -> None:
    """A caller that is slow to take one row must not keep all others in memory."""
    array = np.arange(9 * 20_000, dtype=np.float32).reshape(9, 20_000)
    outputs = BatchOutputs([array], has_batch_axis=True, began_s=0.0, ran_s=0.0)
    (one,), (two,) = outputs.rows(1, 2), outputs.rows(1, 3)
    assert isinstance(one, bytes)
    assert isinstance(two, memoryview)
    assert (one, bytes(two)) == (array[1].tobytes(), array[1:3].tobytes())


@given(
    rows=st.integers(1, 6),
    row_shape=st.lists(st.integers(0, 3), max_size=2),
    layout=st.sampled_from(["C", "F", "strided"]),
    data=st.data(),
)
def test_any_cut_of_any_layout_is_that_of_numpy(
    rows: int, row_shape: list[int], layout: str, data: st.DataObject
) -> None:
    """Also where an array is not contiguous, or its rows have no elements."""
    array: Array = np.arange(rows * int(np.prod(row_shape)), dtype=np.int32).reshape(rows, *row_shape)
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "strided":
        array = np.repeat(array, 2, axis=0)[::2]
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    assert (
        bytes(BatchOutputs([array], has_batch_axis=True, began_s=0.0, ran_s=0.0).rows(start, stop)[0])
        == array[start:stop].tobytes()
    )


@given(
    rows=st.integers(1, 12), row_shapes=st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=4), data=st.data()
)
def test_rows_of_several_outputs_are_those_of_each(rows: int, row_shapes: list[list[int]], data: st.DataObject) -> None:
    """One, two and many are cut in ways of their own."""
    arrays: list[Array] = [
        (np.arange(rows * int(np.prod(row_shape)), dtype=np.int32) + index).reshape(rows, *row_shape)
        for index, row_shape in enumerate(row_shapes)
    ]
    outputs = BatchOutputs(arrays, has_batch_axis=True, began_s=0.0, ran_s=0.0)
    start = data.draw(st.integers(0, rows - 1))
    stop = data.draw(st.integers(start + 1, rows))
    assert [bytes(part) for part in outputs.rows(start, stop)] == [array[start:stop].tobytes() for array in arrays]


def test_strings_are_cut_by_elements() -> None:
    """UTF-8 with a length before each; a NUL is kept."""
    array = np.array([["a", "é"], ["", "x\0y"], ["z", "z"]], object)
    outputs = BatchOutputs([np.arange(3), array], has_batch_axis=True, began_s=0.0, ran_s=0.0)
    numbers, texts = outputs.rows(1, 2)
    assert bytes(numbers) == np.array([1]).tobytes()
    assert texts == encode_bytes_elements(["", "x\0y"])
    assert outputs.row_shapes == ((), (2,))


def test_without_a_batch_axis_one_request_gets_all() -> None:
    """Whatever the shapes: scalars, empty tensors and strings."""
    arrays: list[Array] = [np.array(1.5, np.float32), np.empty((0, 3), np.int64), np.array(["a", "b"], object)]
    outputs = BatchOutputs(arrays, has_batch_axis=False, began_s=0.0, ran_s=0.0)
    assert outputs.row_shapes == ((), (0, 3), (2,))
    assert [bytes(data) for data in outputs.rows(0, 1)] == [
        np.float32(1.5).tobytes(),
        b"",
        encode_bytes_elements(["a", "b"]),
    ]
