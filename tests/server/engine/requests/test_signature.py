"""The only check of requests: what passes, and the exact words where something does not."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.engine.requests.input_decoding import read_tensors
from sardonyx_server.engine.requests.lazy_strings import LazyStringSlice
from sardonyx_server.engine.requests.plan import Plan
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_server.engine.running.execution import gather
from sardonyx_server.engine.shared_memory.region import DeferredRead, shared_memory_is_off
from sardonyx_server.errors import ExecutionFailed, InvalidRequest
from sardonyx_server.repository.shapes import Reshape
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse
from sardonyx_wire.request_reader import RequestReader
from tests.server.engine.doubles import check, decode, message, one_input, rows_of, signature, spec
from tests.server.engine.regions import some_regions

# x FP32 [-1,2], t BYTES [-1], b BOOL [-1,3], an optional o INT64 [-1] and an output of each kind.
MIXED = signature(
    spec("x"),
    spec("t", "BYTES", (-1,)),
    spec("b", "BOOL", (-1, 3)),
    spec("o", "INT64", (-1,), optional=True),
    outputs=(spec("y"), spec("z", "INT64", (-1,))),
)
WHOLE = signature(spec("x", shape=(-1, 2)), spec("any", "INT8", None, optional=True), has_batch_axis=False)


def mixed(rows: int = 2, **more: Any) -> ModelInferRequest:
    """A right request to MIXED."""
    texts = np.array(["é", "x\0y", "", "long" * 9][:rows], object)
    return message({"x": rows_of(0, rows), "t": texts, "b": np.ones((rows, 3), bool)}, **more)


def refusal(of: Signature, request: ModelInferRequest) -> InvalidRequest:
    """The error of a request that must not pass."""
    with pytest.raises(InvalidRequest) as caught:
        check(of, request)
    return caught.value


class TestRight:
    """What passes, and what becomes of it."""

    def test_numbers_are_views_of_the_message(self) -> None:
        """Checked by their size alone."""
        request = message({"x": rows_of(0, 3)})
        plan, tensors = check(signature(), request)
        assert plan.rows == 3
        assert [bytes(tensor) for tensor in tensors if isinstance(tensor, memoryview)] == [rows_of(0, 3).tobytes()]

    def test_strings_become_text_and_a_bool_that_is_no_bool_becomes_true(self) -> None:
        """The runtime takes nothing else, and numpy has no idea of a BOOL of 2."""
        request = mixed()
        request.raw_input_contents[2] = bytes([0, 1, 2, 255, 0, 1])
        _, (_, texts, flags) = check(MIXED, request)
        assert texts == ["é", "x\0y"]
        assert bytes(flags) == bytes([0, 1, 1, 1, 0, 1])  # type: ignore[arg-type]  # no strings

    def test_inputs_in_another_order_reach_the_model_in_the_graphs(self) -> None:
        """On the fast path and on the slow one."""
        two = signature(spec("x"), spec("w", "INT8", (-1, 2)))
        request = message({"w": np.ones((2, 2), np.int8), "x": rows_of(0, 2)})
        plan, tensors = check(two, request)
        assert plan.payload_bytes is not None
        assert [feed.name for feed in plan.bucket.feeds] == ["x", "w"]
        assert [len(tensor) for tensor in tensors] == [16, 4]
        reordered = ModelInferRequest(model_name="m")
        for index in (2, 0, 1):
            reordered.inputs.append(mixed().inputs[index])
            reordered.raw_input_contents.append(mixed().raw_input_contents[index])
        plan, tensors = check(MIXED, reordered)
        assert [feed.name for feed in plan.bucket.feeds] == ["x", "t", "b"]
        assert tensors[1] == ["é", "x\0y"]

    def test_an_optional_input_may_be_left_out(self) -> None:
        """With and without are runs of different forms."""
        without, _ = check(MIXED, mixed())
        request = mixed()
        request.inputs.add(name="o", datatype="INT64", shape=(2,))
        request.raw_input_contents.append(bytes(16))
        given_too, _ = check(MIXED, request)
        assert [feed.name for feed in given_too.bucket.feeds] == ["x", "t", "b", "o"]
        assert without.bucket is not given_too.bucket

    def test_all_inputs_may_be_optional(self) -> None:
        """Then a request without any is right."""
        optional = signature(spec("any", "INT8", None, optional=True), has_batch_axis=False)
        plan, tensors = check(optional, ModelInferRequest(model_name="m"))
        assert (plan.rows, list(tensors)) == (1, [])

    def test_equal_forms_share_a_bucket_and_others_do_not(self) -> None:
        """Rows, ids and parameters are no matter of the form; row_shapes and outputs are."""
        free = signature(spec("x", shape=(-1, -1)), outputs=(spec("y"), spec("z")))

        def bucket(rows: int, columns: int, *outputs: str) -> object:
            return check(free, message({"x": np.zeros((rows, columns), np.float32)}, outputs=outputs))[0].bucket

        first = bucket(1, 4)
        assert bucket(3, 4) is first
        assert bucket(3, 4, "y", "z") is first
        assert bucket(1, 5) is not first
        assert bucket(1, 4, "y") is not first
        assert bucket(1, 4, "z", "y") is not first

    def test_what_lies_in_shared_memory_may_be_a_form_of_its_own(self) -> None:
        """Where its runs, which read it, are larger ones."""
        sent = message({"x": rows_of(0, 1)})
        placed = message({"x": rows_of(0, 1)})
        del placed.raw_input_contents[:]
        placed.inputs[0].parameters["shared_memory_region"].string_param = "r"
        placed.inputs[0].parameters["shared_memory_byte_size"].int64_param = 8
        apart, regions = signature(separate_deferred_reads=True), some_regions(r=bytes(8))
        one, other = (check(apart, each, regions.find)[0].bucket for each in (sent, placed))
        assert (one.deferred_reads, other.deferred_reads) == (False, True)
        assert (one.feeds[0].row_shape, one.output_names) == (other.feeds[0].row_shape, other.output_names)

    def test_forms_that_nobody_uses_are_forgotten(self) -> None:
        """A caller chooses the dimensions: what it chose must not stay."""
        free = signature(spec("x", shape=(-1, -1)))
        for columns in range(50):
            check(free, message({"x": np.zeros((1, columns), np.float32)}))
        gc.collect()
        assert len(free._buckets) <= 1

    def test_no_outputs_asked_for_means_all(self) -> None:
        """In graph order; else those asked for, in the order asked for."""
        assert check(MIXED, mixed())[0].bucket.output_names == ("y", "z")
        assert check(MIXED, mixed(outputs=["z", "y"]))[0].bucket.output_names == ("z", "y")

    def test_priority_and_timeout_are_read(self) -> None:
        """Once, with the header."""
        plan, _ = check(MIXED, mixed(priority=2, timeout=500_000))
        assert (plan.priority, plan.timeout_s) == (2, 0.5)
        assert check(MIXED, mixed())[0].timeout_s == math.inf

    def test_without_a_batch_axis_a_request_is_one_row(self) -> None:
        """And any first dimension that the graph allows, 0 too."""
        plan, _ = check(WHOLE, one_input((0, 2)))
        assert (plan.rows, plan.bucket.feeds[0].row_shape) == (1, (0, 2))

    def test_an_undeclared_shape_takes_any(self) -> None:
        """Scalars, and ranks the graph says nothing about."""
        for shape in [(), (3,), (1, 2, 3)]:
            request = one_input((1, 2), bytes(8))
            request.inputs.add(name="any", datatype="INT8", shape=shape)
            request.raw_input_contents.append(bytes(math.prod(shape)))
            assert check(WHOLE, request)[0].bucket.feeds[1].row_shape == shape

    def test_rows_without_elements_pass(self) -> None:
        """They have no bytes, and are rows all the same."""
        plan, tensors = check(signature(spec("x", shape=(-1, -1))), one_input((3, 0)))
        assert plan.rows == 3
        assert gather(plan.bucket.feeds[0], tensors, 3, has_batch_axis=True).shape == (3, 0)

    def test_typed_contents_are_what_raw_contents_are(self) -> None:
        """Numbers, strings and flags in their fields."""
        request = ModelInferRequest(model_name="m")
        request.inputs.add(name="x", datatype="FP32", shape=(2, 2)).contents.fp32_contents.extend([0, -0.0, 1, -1])
        request.inputs.add(name="t", datatype="BYTES", shape=(2,)).contents.bytes_contents.extend(
            ["é".encode(), b"x\0y"]
        )
        request.inputs.add(name="b", datatype="BOOL", shape=(2, 3)).contents.bool_contents.extend([True] * 6)
        typed_plan, typed = check(MIXED, request)
        raw_plan, raw = check(MIXED, mixed())
        assert typed_plan.bucket is raw_plan.bucket
        assert [one if isinstance(one, list | DeferredRead | LazyStringSlice) else bytes(one) for one in typed] == [
            one if isinstance(one, list | DeferredRead | LazyStringSlice) else bytes(one) for one in raw
        ]

    def test_the_response_has_the_rows_of_the_request(self) -> None:
        """And the shapes of the run behind them."""
        plan, _ = check(MIXED, mixed(outputs=["z", "y"]))
        response = ModelInferResponse.FromString(bytes(plan.response(b"", ((), (7,)), [b"a", b"b"])))
        assert [(output.name, output.datatype, list(output.shape)) for output in response.outputs] == [
            ("z", "INT64", [2]),
            ("y", "FP32", [2, 7]),
        ]

    def test_response_forms_are_remembered_and_bounded(self) -> None:
        """Shapes may depend on values: only the last few are kept."""
        plan, _ = check(signature(), message({"x": rows_of(0, 1)}))
        plan.response(b"", ((2,),), [b""])
        (first,) = plan._templates.values()
        plan.response(b"", ((2,),), [b""])
        assert list(plan._templates.values()) == [first]
        for size in range(100):
            plan.response(b"", ((size,),), [b""])
        assert len(plan._templates) <= 8


class TestReshape:
    """What callers see differs from what the graph gets."""

    def signature(self, **more: Any) -> Signature:
        """X FP32 [-1,2,-1] is [-1,-1,2] for the graph, y FP32 [-1] of the graph is [-1,1]."""
        return Signature(
            model_name="m",
            version=1,
            inputs=(spec("x", shape=(-1, 2, -1)),),
            outputs=(spec("y", shape=(-1, 1)), spec("z", shape=(-1, 3))),
            has_batch_axis=True,
            input_reshapes={"x": Reshape(callers=(2, -1), graphs=(-1, 2))},
            output_reshapes={"y": Reshape(callers=(1,), graphs=())},
            **more,
        )

    def test_feeds_have_the_graphs_form(self) -> None:
        """Rows and bytes are the same in both."""
        plan, tensors = check(self.signature(), message({"x": np.ones((3, 2, 5), np.float32)}))
        (feed,) = plan.bucket.feeds
        assert (plan.rows, feed.row_shape, feed.row_bytes) == (3, (5, 2), 40)
        assert len(tensors[0]) == 120

    def test_responses_have_the_callers_form(self) -> None:
        """Of the outputs that have another; the rest is as the graph gave it."""
        plan, _ = check(self.signature(), message({"x": np.ones((2, 2, 1), np.float32)}))
        response = ModelInferResponse.FromString(bytes(plan.response(b"", ((), (3,)), [b"", b""])))
        assert [list(output.shape) for output in response.outputs] == [[2, 1], [2, 3]]

    def test_an_output_of_another_form_cannot_be_answered_with(self) -> None:
        """The config promised something that the model does not keep."""
        plan, _ = check(self.signature(), message({"x": np.ones((2, 2, 1), np.float32)}))
        with pytest.raises(ExecutionFailed) as caught:
            plan.response(b"", ((4,), (3,)), [b"", b""])
        assert caught.value.message == (
            "model 'm' gave output 'y' of shape [-1,4], but its config.pbtxt says [-1] and reshapes that to [-1,1]; "
            "correct the config"
        )


class TestMemo:
    """What a header alone decides is concluded once."""

    def test_a_plan_is_made_once_for_requests_of_one_form(self) -> None:
        """The reader shares the header, the header has the plan."""
        reader, of = RequestReader(), signature()
        plans = []
        for start in range(2):
            header, _, payloads = reader.decode(
                message({"x": rows_of(start, 2)}, request_id=str(start)).SerializeToString()
            )
            plan, tensors = of.check(header, payloads)
            plans.append(plan)
            assert bytes(tensors[0]) == rows_of(start, 2).tobytes()  # type: ignore[arg-type]  # no strings
        assert plans[0] is plans[1]

    def test_a_plan_of_another_version_is_not_used(self) -> None:
        """A version with another signature may have taken the place of the one that the plan was made for."""
        old, new = signature(), signature(spec("x", "FP64"), version=2)
        header, _, payloads = decode(message({"x": rows_of(0, 1)}))
        plan, _ = old.check(header, payloads)
        with pytest.raises(InvalidRequest):
            new.check(header, payloads)
        same = signature(version=2)
        other, _ = same.check(header, payloads)
        assert other is not plan
        assert (other.signature, header.plan) == (same, other)

    def test_payloads_are_checked_for_every_request(self) -> None:
        """The plan says only how many bytes there should be."""
        header, _, payloads = decode(message({"x": rows_of(0, 1)}))
        of = signature()
        of.check(header, payloads)
        with pytest.raises(InvalidRequest):
            of.check(header, [payloads[0][:-1]])
        with pytest.raises(InvalidRequest):
            of.check(header, [])


FORM: list[tuple[str, ModelInferRequest, str, str]] = [
    (
        "short payload",
        one_input((2, 2), bytes(15)),
        "data of input 'x' of model 'm': expected 16 bytes for FP32 [2,2], got 15",
        "raw_input_contents[0]",
    ),
    (
        "long payload",
        one_input((2, 2), bytes(17)),
        "data of input 'x' of model 'm': expected 16 bytes for FP32 [2,2], got 17",
        "raw_input_contents[0]",
    ),
    (
        "no data",
        ModelInferRequest(inputs=one_input((1, 2)).inputs),
        "input 'x' of model 'm' has no data: send an entry in raw_input_contents or typed contents",
        "inputs[0].contents",
    ),
    (
        "too many entries",
        ModelInferRequest(inputs=one_input((1, 2)).inputs, raw_input_contents=[bytes(8), b"", bytes(8)]),
        (
            "raw_input_contents of the request to model 'm': expected 1 entries, one for each input without typed "
            "contents, got 3"
        ),
        "raw_input_contents",
    ),
]


@pytest.mark.parametrize(("request_", "text", "field"), [each[1:] for each in FORM], ids=[each[0] for each in FORM])
def test_what_is_wrong_is_named_with_what_was_expected_and_what_came(
    request_: ModelInferRequest, text: str, field: str
) -> None:
    """In the data, of a model with one input; test_header_check.py has the rest."""
    error = refusal(signature(), request_)
    assert (error.message, error.field) == (text, field)


def mix_forms(request: ModelInferRequest) -> None:
    """The last input is typed, the others are raw."""
    request.inputs[2].contents.bool_contents.extend([True] * 6)
    del request.raw_input_contents[2]


def both_forms(request: ModelInferRequest) -> None:
    """One input has typed data beside the raw data of all."""
    request.inputs[0].contents.fp32_contents.extend([0] * 4)


def text_is(data: bytes) -> Callable[[ModelInferRequest], None]:
    """Other raw contents of the BYTES input [2]."""

    def change(request: ModelInferRequest) -> None:
        request.raw_input_contents[1] = data

    return change


MIXED_FORM: list[tuple[str, Callable[[ModelInferRequest], None], str, str]] = [
    (
        "raw and typed inputs",
        mix_forms,
        "data of input 'b' of model 'm': typed contents and raw_input_contents cannot be mixed in one request",
        "inputs[2].contents",
    ),
    (
        "raw and typed of one input",
        both_forms,
        "data of input 'x' of model 'm': typed contents and raw_input_contents cannot be mixed in one request",
        "inputs[0].contents",
    ),
    (
        "nothing",
        text_is(b""),
        "data of input 't' of model 'm': expected 2 BYTES elements, which take 8 bytes or more, got 0 bytes",
        "raw_input_contents[1]",
    ),
    (
        "length beyond the rest",
        text_is(b"\1\0\0\0a\xff\xff\xff\xff"),
        (
            "data of input 't' of model 'm': BYTES element 1 of 2: expected 4294967295 bytes as its length says, but 0 "
            "are left"
        ),
        "raw_input_contents[1]",
    ),
    (
        "cut prefix",
        text_is(b"\2\0\0\0ab\1\0"),
        "data of input 't' of model 'm': BYTES element 1 of 2: expected a length of 4 bytes, but 2 are left",
        "raw_input_contents[1]",
    ),
    (
        "trailing bytes",
        text_is(b"\1\0\0\0a\1\0\0\0b!"),
        "data of input 't' of model 'm': expected 2 BYTES elements in 10 bytes, but 1 more bytes follow",
        "raw_input_contents[1]",
    ),
    (
        "not UTF-8",
        text_is(b"\1\0\0\0a\2\0\0\0b\xff"),
        "data of input 't' of model 'm': element 1 is not UTF-8: byte 0xff at offset 1",
        "raw_input_contents[1]",
    ),
]


@pytest.mark.parametrize(
    ("change", "text", "field"), [each[1:] for each in MIXED_FORM], ids=[each[0] for each in MIXED_FORM]
)
def test_what_is_wrong_among_several_inputs_is_named(
    change: Callable[[ModelInferRequest], None], text: str, field: str
) -> None:
    """Of a model that takes numbers, strings and flags."""
    request = mixed()
    change(request)
    error = refusal(MIXED, request)
    assert (error.message, error.field) == (text, field)


def test_typed_data_in_another_field_are_refused() -> None:
    """They would be read as nothing."""
    request = ModelInferRequest(inputs=one_input((1, 2)).inputs)
    request.inputs[0].contents.fp64_contents.extend([1, 2])
    assert refusal(signature(), request).message == (
        "data of input 'x' of model 'm': typed data of FP32 belong in fp32_contents, but fp64_contents is set"
    )


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_has_no_typed_form(datatype: str) -> None:
    """The protocol has no field for it."""
    request = ModelInferRequest(inputs=one_input((1, 2), datatype=datatype).inputs)
    request.inputs[0].contents.fp32_contents.extend([1, 2])
    assert refusal(signature(spec("x", datatype)), request).message == (
        f"data of input 'x' of model 'm': {datatype} has no typed form: send it in raw_input_contents"
    )


NUMBERS = st.sampled_from([name for name, datatype in DATATYPES.items() if datatype.itemsize])


@given(data=st.data())
def test_the_fast_path_is_the_slow_path(data: st.DataObject) -> None:
    """For any inputs, payloads of any length and any order: the same tensors, or the same refusal."""
    datatypes = data.draw(st.lists(NUMBERS, min_size=1, max_size=3))
    names = [f"i{index}" for index in range(len(datatypes))]
    rows = data.draw(st.integers(1, 3))
    row_shapes = data.draw(st.lists(st.integers(0, 3), min_size=len(names), max_size=len(names)))
    of = signature(*(spec(name, datatype, (-1, -1)) for name, datatype in zip(names, datatypes, strict=True)))
    request = ModelInferRequest(model_name="m")
    for index in data.draw(st.permutations(range(len(names)))):
        size = rows * row_shapes[index] * DATATYPES[datatypes[index]].itemsize
        request.inputs.add(name=names[index], datatype=datatypes[index], shape=(rows, row_shapes[index]))
        wrong = data.draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1]))
        request.raw_input_contents.append(
            data.draw(st.binary(min_size=max(0, size + wrong), max_size=max(0, size + wrong)))
        )
    if data.draw(st.sampled_from([False, False, False, True])):
        request.raw_input_contents.append(b"")
    header, _, payloads = decode(request)
    plan = of._make_plan(header)
    assert isinstance(plan, Plan)

    def outcome(read: Callable[[], Any]) -> Any:
        try:
            return [bytes(tensor) for tensor in read()]
        except InvalidRequest as error:
            return (error.message, error.field)

    assert outcome(lambda: of.check(header, payloads)[1]) == outcome(
        lambda: read_tensors(header, payloads, plan, shared_memory_is_off)
    )
