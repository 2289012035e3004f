"""What a header may say to a model, and the exact words where it may not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.engine.requests.header_validation import HeaderValidator
from sardonyx_server.engine.running.execution import gather
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.doubles import decode, message, one_input, rows_of, signature, spec


def check_of(*inputs: TensorSpec) -> HeaderValidator:
    """For a model with these inputs and one output, y."""
    return HeaderValidator(
        model_name="m",
        inputs={one.name: one for one in inputs},
        outputs={"y": spec("y")},
        has_batch_axis=True,
        max_rows=0,
    )


def refusal(of: HeaderValidator, request: ModelInferRequest) -> InvalidRequest:
    """The error of a header that must not pass."""
    header, _, _ = decode(request)
    with pytest.raises(InvalidRequest) as caught:
        _ = of.check_inputs(header), of.output_names(header)
    return caught.value


FORM: list[tuple[str, ModelInferRequest, str, str]] = [
    (
        "datatype",
        one_input((1, 2), datatype="FP64"),
        "input 'x' of model 'm': expected FP32 [-1,2], got FP64 [1,2]",
        "inputs[0].datatype",
    ),
    (
        "lower case datatype",
        one_input((1, 2), datatype="fp32"),
        "input 'x' of model 'm': expected FP32 [-1,2], got 'fp32' [1,2]",
        "inputs[0].datatype",
    ),
    (
        "no datatype",
        one_input((1, 2), datatype=""),
        "input 'x' of model 'm': expected FP32 [-1,2], got '' [1,2]",
        "inputs[0].datatype",
    ),
    (
        "rank",
        one_input((2,)),
        "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [2]",
        "inputs[0].shape",
    ),
    (
        "scalar",
        one_input(()),
        "input 'x' of model 'm': expected FP32 [-1,2], got FP32 []",
        "inputs[0].shape",
    ),
    (
        "dimension",
        one_input((1, 3)),
        "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [1,3]",
        "inputs[0].shape",
    ),
    (
        "negative",
        one_input((-1, 2)),
        (
            "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [-1,2]; at most 32 dimensions and "
            "2147483647 elements, none negative"
        ),
        "inputs[0].shape",
    ),
    (
        "two negatives whose product is right",
        one_input((-1, -2), bytes(8)),
        (
            "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [-1,-2]; at most 32 dimensions and "
            "2147483647 elements, none negative"
        ),
        "inputs[0].shape",
    ),
    (
        "overflow",
        one_input((2**62, 4)),
        (
            "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [4611686018427387904,4]; at most 32 dimensions and "
            "2147483647 elements, none negative"
        ),
        "inputs[0].shape",
    ),
    (
        "overflow hidden by a zero",
        one_input((0, 2**62)),
        (
            "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [0,4611686018427387904]; at most 32 dimensions and "
            "2147483647 elements, none negative"
        ),
        "inputs[0].shape",
    ),
    (
        "greatest dimension",
        one_input((2**63 - 1, 2)),
        (
            "input 'x' of model 'm': expected FP32 [-1,2], got FP32 [9223372036854775807,2]; at most 32 dimensions and "
            "2147483647 elements, none negative"
        ),
        "inputs[0].shape",
    ),
    (
        "rank 10,000",
        one_input((1,) * 10_000),
        (
            f"input 'x' of model 'm': expected FP32 [-1,2], got FP32 [{'1,' * 40}... 10000 dimensions]; at most 32 "
            "dimensions and 2147483647 elements, none negative"
        ),
        "inputs[0].shape",
    ),
    (
        "zero rows",
        one_input((0, 2)),
        "input 'x' of model 'm': a batch needs at least 1 row, got 0",
        "inputs[0].shape",
    ),
    (
        "unknown input",
        one_input((1, 2), name="X\n"),
        "unknown input 'X\\n' of model 'm': expected 'x' FP32 [-1,2]",
        "inputs[0].name",
    ),
    (
        "missing input",
        ModelInferRequest(model_name="m"),
        "input 'x' of model 'm' is missing: expected FP32 [-1,2]",
        "inputs",
    ),
    (
        "input given twice",
        ModelInferRequest(inputs=[one_input((1, 2)).inputs[0], one_input((1, 2)).inputs[0]]),
        "input 'x' of model 'm' is given more than once",
        "inputs[1].name",
    ),
    (
        "unknown output",
        message({"x": rows_of(0, 1)}, outputs=["y", "Y"]),
        "unknown output 'Y' of model 'm': expected 'y'",
        "outputs[1].name",
    ),
    (
        "output asked for twice",
        message({"x": rows_of(0, 1)}, outputs=["y", "y"]),
        "output 'y' of model 'm' is requested more than once",
        "outputs[1].name",
    ),
]


@pytest.mark.parametrize(("request_", "text", "field"), [each[1:] for each in FORM], ids=[each[0] for each in FORM])
def test_what_is_wrong_is_named_with_what_was_expected_and_what_came(
    request_: ModelInferRequest, text: str, field: str
) -> None:
    """Of a model with one input."""
    error = refusal(check_of(spec("x")), request_)
    assert (error.message, error.field) == (text, field)


def test_all_inputs_bring_the_same_rows_and_none_is_missing() -> None:
    """Unless it is optional."""
    of = check_of(spec("x"), spec("t", "INT8", (-1,)), spec("o", optional=True))
    two = message({"x": rows_of(0, 2), "t": np.ones(2, np.int8)})
    assert of.check_inputs(decode(two)[0]) == 2
    two.inputs[1].shape[0] = 3
    error = refusal(of, two)
    assert error.message == "inputs of model 'm' must have the same number of rows: 'x' has 2, 't' has 3"
    assert error.field == "inputs[1].shape"
    error = refusal(of, message({"x": rows_of(0, 2)}))
    assert (error.message, error.field) == ("input 't' of model 'm' is missing: expected INT8 [-1]", "inputs")


def test_outputs_come_in_the_order_that_they_are_asked_for() -> None:
    """All of them, in the graph's, where none is."""
    of = HeaderValidator(
        model_name="m",
        inputs={"x": spec("x")},
        outputs={"y": spec("y"), "z": spec("z")},
        has_batch_axis=True,
        max_rows=0,
    )
    assert of.output_names(decode(message({"x": rows_of(0, 1)}, outputs=["z", "y"]))[0]) == ("z", "y")
    assert of.output_names(decode(message({"x": rows_of(0, 1)}))[0]) == ("y", "z")


def test_a_name_of_a_megabyte_gives_a_short_message() -> None:
    """Messages travel in headers of limited size."""
    of, name = check_of(spec("x")), "n" * 2**20
    assert len(refusal(of, one_input((1, 2), name=name)).message) < 300
    assert len(refusal(of, one_input((1, 2), datatype=name)).message) < 300
    assert len(refusal(of, message({"x": rows_of(0, 1)}, outputs=[name])).message) < 300


@given(shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=5))
def test_any_shape_is_refused_or_can_be_made_an_array(shape: list[int]) -> None:
    """No dimensions of a caller reach numpy that it could not take."""
    of = signature(spec("x", "INT8", None), has_batch_axis=False)
    header, _, payloads = decode(one_input(tuple(shape), datatype="INT8"))
    try:
        plan, tensors = of.check(header, payloads)
    except InvalidRequest:
        return
    assert gather(plan.bucket.feeds[0], tensors, plan.rows, has_batch_axis=False).shape == tuple(shape)


def test_more_rows_than_could_ever_be_split_are_refused() -> None:
    """Rows without elements take no bytes: a tiny message could ask for two thousand million parts."""
    of = signature(spec("x", shape=(-1, -1)), max_rows=4)
    header, _, payloads = decode(one_input((2**31 - 1, 0)))
    with pytest.raises(InvalidRequest) as refused:
        of.check(header, payloads)
    assert refused.value.message == (
        "request to model 'm': expected at most 65536 rows at a time (16384 batches of 4), got 2147483647; send "
        "fewer in each request, or raise max_batch_size in its config.pbtxt"
    )
    assert refused.value.field == "inputs[0].shape"


def test_as_many_rows_as_can_be_split_pass() -> None:
    """The bound itself, and any number where there is none."""
    header, _, payloads = decode(one_input((65536, 0)))
    assert signature(spec("x", shape=(-1, -1)), max_rows=4).check(header, payloads)[0].rows == 65536
    header, _, payloads = decode(one_input((2**31 - 1, 0)))
    assert signature(spec("x", shape=(-1, -1))).check(header, payloads)[0].rows == 2**31 - 1
