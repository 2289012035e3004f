"""Which calls may join, told by what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_client import InvalidArgument
from sardonyx_client._coalescing.rules import Forms, join
from sardonyx_client._request import request_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_client._coalescing.rules import Joinable

MAX_ROWS = 8


def ask(forms: Forms, inputs: Mapping[str, Any], **said: Any) -> Joinable | None:
    """One call of model ``m``."""
    given: dict[str, Any] = {"version": "", "outputs": None, "request_id": "", "parameters": None, **said}
    return forms.joinable(request_of("m", inputs, {}, **given))


def form(forms: Forms, inputs: Mapping[str, Any], **said: Any) -> object:
    """Of a call that may join."""
    call = ask(forms, inputs, **said)
    assert call is not None
    return call.form


def test_calls_that_differ_in_rows_alone_are_of_one_form() -> None:
    """Arrays and lists, the first call of its kind and a later one."""
    forms = Forms(MAX_ROWS)
    calls = [ask(forms, {"x": x}) for x in (np.zeros((1, 2), np.float32), np.ones((3, 2), np.float32), [[1.0, 2.0]])]
    again = ask(forms, {"x": np.ones((3, 2), np.float32)})
    assert len({call.form for call in (*calls, again) if call is not None}) == 1
    assert [call.rows for call in (*calls, again) if call is not None] == [1, 3, 1, 3]


def test_text_of_any_width_is_of_one_form() -> None:
    """It is joined by numpy, which takes the widest."""
    forms = Forms(MAX_ROWS)
    short, long = ask(forms, {"t": np.array(["a"])}), ask(forms, {"t": np.array(["longer"])})
    assert short is not None
    assert long is not None
    assert short.form is long.form
    assert np.asarray(join([short, long]).inputs["t"]).tolist() == ["a", "longer"]


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
    forms = Forms(MAX_ROWS)
    inputs = {"x": np.zeros((1, 2), np.float32)}
    same = form(forms, inputs)
    assert form(forms, **{"inputs": inputs, **other}) is not same
    assert form(forms, inputs, parameters={"a": 1}) is not form(forms, inputs, parameters={"a": True})
    assert form(forms, inputs) is same


def test_a_version_is_the_same_as_number_and_as_text() -> None:
    """As everywhere in the client."""
    forms = Forms(MAX_ROWS)
    assert form(forms, {"x": [1]}, version=2) is form(forms, {"x": [1]}, version="2")


@pytest.mark.parametrize(
    "inputs",
    [{"x": np.zeros(MAX_ROWS)}, {"x": np.float32(1)}, {"x": np.zeros((0, 2))}, {"x": [1, 2], "y": [1]}, {}],
    ids=["too many rows", "a scalar", "no rows", "unequal rows", "no inputs"],
)
def test_what_cannot_be_cut_apart_goes_alone(inputs: dict[str, Any]) -> None:
    """The first time, and when it is remembered."""
    forms = Forms(MAX_ROWS)
    assert ask(forms, inputs) is None
    assert ask(forms, inputs) is None


def test_calls_of_a_form_that_cannot_be_cut_go_alone_from_then_on() -> None:
    """Also those with another number of rows; calls of other forms still join."""
    forms = Forms(MAX_ROWS)
    call = ask(forms, {"x": [1]})
    assert call is not None
    call.form.alone = True
    assert ask(forms, {"x": [1]}) is None
    assert ask(forms, {"x": [1, 2]}) is None
    assert ask(forms, {"x": [1.0]}) is not None


def test_what_a_caller_does_to_its_arguments_later_changes_no_form() -> None:
    """A form outlives the call that it was made of."""
    forms = Forms(MAX_ROWS)
    parameters = {"a": 1}
    outputs = ["z"]
    call = ask(forms, {"x": [1]}, parameters=parameters, outputs=outputs)
    parameters["a"] = 2
    outputs.append("y")
    assert call is not None
    assert call.form.request.parameters == {"a": 1}
    assert call.form.request.outputs == ("z",)


def test_shapes_that_never_repeat_do_not_fill_the_memory() -> None:
    """What is remembered is bounded."""
    forms = Forms(MAX_ROWS)
    for width in range(1, 2000):
        assert ask(forms, {"x": np.empty((1, width), np.int8)}) is not None
    assert len(forms._seen) <= 512
    assert len(forms._forms) <= 512


def test_text_of_ever_new_width_goes_on_joining() -> None:
    """What is forgotten of it is only how it was said."""
    forms = Forms(MAX_ROWS)
    assert len({form(forms, {"t": np.empty(1, f"U{width}")}) for width in range(1, 2000)}) == 1
    assert len(forms._seen) <= 512


def test_a_value_that_is_no_array_is_named() -> None:
    """By the input."""
    with pytest.raises(InvalidArgument, match=r"^input 'x': numpy cannot make an array of it: "):
        ask(Forms(MAX_ROWS), {"x": [[1], [1, 2]]})
