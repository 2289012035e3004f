"""The best values of an output as text, as Triton writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sardonyx_server.engine.requests.classification import TopClasses
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import decode_bytes_elements
from tests.server.engine.doubles import Array, spec

RANKED = sorted(set(DATATYPES) - {"BOOL", "BYTES"})


def classes(
    array: Array, count: int, *, datatype: str = "FP32", labels: tuple[str, ...] = (), rows: int | None = None
) -> list[list[str]]:
    """The classes of each row."""
    top = TopClasses(spec("y", datatype, None, labels=labels), count, model_name="m", field="f")
    rows = len(array) if rows is None else rows
    width, data = top.render(array.tobytes(), rows)
    texts = [element.decode() for element in decode_bytes_elements(data, rows * width)]
    return [texts[row * width : (row + 1) * width] for row in range(rows)]


def test_floats_have_six_decimals() -> None:
    """As std::to_string writes them: %f, whatever their size."""
    array = np.array([[0.25, 1e30, -1e-9, np.inf, -np.inf]], np.float32)
    assert classes(array, 5) == [
        ["inf:3", "1000000015047466219876688855040.000000:1", "0.250000:0", "-0.000000:2", "-inf:4"]
    ]


@pytest.mark.parametrize("datatype", [name for name in RANKED if "INT" in name])
def test_integers_are_written_plainly_and_ranked_to_the_ends_of_their_range(datatype: str) -> None:
    """The least of them has no negative."""
    of = DATATYPES[datatype]
    assert of.minimum is not None
    assert of.maximum is not None
    array = np.array([[of.minimum, 5, of.maximum, 3]], of.dtype)
    assert classes(array, 4, datatype=datatype) == [[f"{of.maximum}:2", "5:1", "3:3", f"{of.minimum}:0"]]


def test_half_precision_is_ranked_by_value() -> None:
    """BF16 travels as bits, whose order is another one."""
    assert classes(np.array([[-1.5, 0.5]], np.float16), 2, datatype="FP16") == [["0.500000:1", "-1.500000:0"]]
    bits = (np.array([[-1.5, 0.5]], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    assert classes(bits, 2, datatype="BF16") == [["0.500000:1", "-1.500000:0"]]


def test_labels_stand_behind_the_classes_that_have_one() -> None:
    """A file may have fewer lines than there are classes, and empty ones."""
    array = np.array([[4, 3, 2, 1]], np.float32)
    assert classes(array, 4, labels=("rose", "", "it's: a lily")) == [
        ["4.000000:0:rose", "3.000000:1", "2.000000:2:it's: a lily", "1.000000:3"]
    ]


def test_equal_values_keep_their_order_and_nan_comes_last() -> None:
    """So that answers can be compared."""
    assert classes(np.array([[1, np.nan, 2, 1, 2]], np.float32), 5) == [
        ["2.000000:2", "2.000000:4", "1.000000:0", "1.000000:3", "nan:1"]
    ]


def test_more_classes_than_there_are_means_all() -> None:
    """Even as many as an int64 holds."""
    assert classes(np.array([[1, 2]], np.float32), 2**62) == [["2.000000:1", "1.000000:0"]]


def test_all_behind_the_batch_axis_is_one_list() -> None:
    """An output [2,2,2] has four classes a row; one without elements has none."""
    array = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert classes(array, 1) == [["3.000000:3"], ["7.000000:3"]]
    assert classes(np.empty((3, 0), np.float32), 2) == [[], [], []]
    assert classes(np.array(7, np.float32), 2, rows=1) == [["7.000000:0"]]


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
def test_what_has_no_order_is_refused(datatype: str) -> None:
    """When the request comes in, not when the model has run."""
    with pytest.raises(InvalidRequest) as caught:
        TopClasses(spec("y", datatype), 1, model_name="m", field="f")
    assert caught.value.message == (
        f"parameter 'classification' of output 'y' of model 'm': expected an output of numbers, but it is {datatype}"
    )
    assert caught.value.field == "f"


@given(data=st.data())
def test_the_classes_are_those_of_a_plain_sort(data: st.DataObject) -> None:
    """For every datatype and any values but NaN."""
    datatype = data.draw(st.sampled_from([name for name in RANKED if name != "BF16"]))
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(0, 5)))
    elements: Any = {"allow_nan": False} if datatype.startswith("FP") else None
    array = data.draw(arrays.arrays(DATATYPES[datatype].dtype, shape, elements=elements))
    count = data.draw(st.integers(1, 7))
    expected = [
        [
            (f"{value:f}" if isinstance(value, float) else str(value)) + f":{index}"
            for index, value in sorted(enumerate(row), key=lambda pair: -pair[1])[:count]
        ]
        for row in array.tolist()
    ]
    assert classes(array, count, datatype=datatype) == expected
