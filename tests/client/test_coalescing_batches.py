"""Which calls may join, told by what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_client import InvalidArgument
from sardonyx_client._coalescing.batching import BatchKeys, merge
from sardonyx_client._request import build_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_client._coalescing.batching import CoalescableRequest

MAX_ROWS = 8


def ask(batch_keys: BatchKeys, inputs: Mapping[str, Any], **said: Any) -> CoalescableRequest | None:
    """One call of model ``m``."""
    given: dict[str, Any] = {"version": "", "outputs": None, "request_id": "", "parameters": None, **said}
    return batch_keys.coalescable(build_request("m", inputs, {}, **given))


def batch_key_of(batch_keys: BatchKeys, inputs: Mapping[str, Any], **said: Any) -> object:
    """Of a call that may join."""
    call = ask(batch_keys, inputs, **said)
    assert call is not None
    return call.batch_key


def test_calls_that_differ_in_rows_alone_are_of_one_form() -> None:
    """Arrays and lists, the first call of its kind and a later one."""
    batch_keys = BatchKeys(MAX_ROWS)
    calls = [
        ask(batch_keys, {"x": x}) for x in (np.zeros((1, 2), np.float32), np.ones((3, 2), np.float32), [[1.0, 2.0]])
    ]
    again = ask(batch_keys, {"x": np.ones((3, 2), np.float32)})
    assert len({call.batch_key for call in (*calls, again) if call is not None}) == 1
    assert [call.rows for call in (*calls, again) if call is not None] == [1, 3, 1, 3]


def test_text_of_any_width_is_of_one_form() -> None:
    """It is joined by numpy, which takes the widest."""
    batch_keys = BatchKeys(MAX_ROWS)
    short, long = ask(batch_keys, {"t": np.array(["a"])}), ask(batch_keys, {"t": np.array(["longer"])})
    assert short is not None
    assert long is not None
    assert short.batch_key is long.batch_key
    assert np.asarray(merge([short, long]).inputs["t"]).tolist() == ["a", "longer"]


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": {"x": np.zeros((1, 2), np.float64)}},
        {"inputs": {"x": np.zeros((1, 2), ">f4")}},
        {"inputs": {"x": np.zeros((1, 3), np.float32)}},
        {"inputs": {"y": np.zeros((1, 2), np.float32)}},
        {"version": 1},
        {"outputs": ["z"]},
        {"parameters": {"a": 1}},
        {"parameters": {"a": True}},
    ],
    ids=["datatype", "byte order", "dimension", "name", "version", "outputs", "parameters", "type of a parameter"],
)
def test_calls_that_differ_otherwise_are_of_other_forms(other: dict[str, Any]) -> None:
    """What is said once holds for all rows of a request."""
    batch_keys = BatchKeys(MAX_ROWS)
    inputs = {"x": np.zeros((1, 2), np.float32)}
    same = batch_key_of(batch_keys, inputs)
    assert batch_key_of(batch_keys, **{"inputs": inputs, **other}) is not same
    assert batch_key_of(batch_keys, inputs, parameters={"a": 1}) is not batch_key_of(
        batch_keys, inputs, parameters={"a": True}
    )
    assert batch_key_of(batch_keys, inputs) is same


def test_a_version_is_the_same_as_number_and_as_text() -> None:
    """As everywhere in the client."""
    batch_keys = BatchKeys(MAX_ROWS)
    assert batch_key_of(batch_keys, {"x": [1]}, version=2) is batch_key_of(batch_keys, {"x": [1]}, version="2")


@pytest.mark.parametrize(
    "inputs",
    [{"x": np.zeros(MAX_ROWS)}, {"x": np.float32(1)}, {"x": np.zeros((0, 2))}, {"x": [1, 2], "y": [1]}, {}],
    ids=["too many rows", "a scalar", "no rows", "unequal rows", "no inputs"],
)
def test_what_cannot_be_cut_apart_goes_alone(inputs: dict[str, Any]) -> None:
    """The first time, and when it is remembered."""
    batch_keys = BatchKeys(MAX_ROWS)
    assert ask(batch_keys, inputs) is None
    assert ask(batch_keys, inputs) is None


def test_calls_of_a_form_that_cannot_be_cut_go_alone_from_then_on() -> None:
    """Also those with another number of rows; calls of other batch_keys still join."""
    batch_keys = BatchKeys(MAX_ROWS)
    call = ask(batch_keys, {"x": [1]})
    assert call is not None
    call.batch_key.unsplittable = True
    assert ask(batch_keys, {"x": [1]}) is None
    assert ask(batch_keys, {"x": [1, 2]}) is None
    assert ask(batch_keys, {"x": [1.0]}) is not None


def test_what_a_caller_does_to_its_arguments_later_changes_no_form() -> None:
    """A form outlives the call that it was made of."""
    batch_keys = BatchKeys(MAX_ROWS)
    parameters = {"a": 1}
    outputs = ["z"]
    call = ask(batch_keys, {"x": [1]}, parameters=parameters, outputs=outputs)
    parameters["a"] = 2
    outputs.append("y")
    assert call is not None
    assert call.batch_key.request.parameters == {"a": 1}
    assert call.batch_key.request.outputs == ("z",)


def test_shapes_that_never_repeat_do_not_fill_the_memory() -> None:
    """What is remembered is bounded."""
    batch_keys = BatchKeys(MAX_ROWS)
    for width in range(1, 2000):
        assert ask(batch_keys, {"x": np.empty((1, width), np.int8)}) is not None
    assert len(batch_keys._seen) <= 512
    assert len(batch_keys._batch_keys) <= 512


def test_text_of_ever_new_width_goes_on_joining() -> None:
    """What is forgotten of it is only how it was said."""
    batch_keys = BatchKeys(MAX_ROWS)
    assert len({batch_key_of(batch_keys, {"t": np.empty(1, f"U{width}")}) for width in range(1, 2000)}) == 1
    assert len(batch_keys._seen) <= 512


def test_a_value_that_is_no_array_is_named() -> None:
    """By the input."""
    with pytest.raises(InvalidArgument, match=r"^input 'x': numpy cannot make an array of it: "):
        ask(BatchKeys(MAX_ROWS), {"x": [[1], [1, 2]]})
