"""Tensors of every datatype and form go in and come out as they were, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import InferTensorContents, ModelInferRequest
from sardonyx_wire.tensors import encode_raw
from tests.e2e.messages import arrays_of, infer_request
from tests.e2e.models import RANK_32, identity_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.e2e.servers import Server

TYPED = [name for name, datatype in DATATYPES.items() if datatype.contents_field is not None]


def sample(datatype: str, rows: int = 2) -> NDArray[Any]:
    """[rows,3] with the extremes of the datatype."""
    kind = DATATYPES[datatype]
    if datatype == "BYTES":
        words = ["", "ascii", "Zürich 東京 \x00 within", "a" * 300, "\n", "{}"]
        return np.array([words[i % 6] for i in range(rows * 3)], object).reshape(rows, 3)
    if kind.minimum is not None:
        values = np.array([kind.minimum, kind.maximum, 0, 1, 2, 3], kind.dtype)
    elif datatype == "BOOL":
        values = np.array([True, False, True, True, False, False])
    elif datatype == "BF16":
        # 1.0, -0.0, infinity, the smallest number, NaN with a payload, the largest.
        values = np.array([0x3F80, 0x8000, 0x7F80, 0x0001, 0x7FC1, 0x7F7F], np.uint16)
    else:
        limits = np.finfo(kind.dtype)
        values = np.array([limits.max, limits.min, np.inf, np.nan, -0.0, limits.smallest_subnormal], kind.dtype)
    return np.resize(values, (rows, 3))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_comes_back_bit_for_bit(server: Server, datatype: str) -> None:
    """Raw in, raw out."""
    x = sample(datatype)
    request = infer_request(identity_name(datatype), datatypes={"x": datatype}, x=x)
    answer = server.infer(request)
    assert answer.raw_output_contents[0] == request.raw_input_contents[0]
    assert (answer.outputs[0].name, answer.outputs[0].datatype) == ("y", datatype)
    assert list(answer.outputs[0].shape) == [2, 3]


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_are_taken_and_answered_raw(server: Server, datatype: str) -> None:
    """What a person would write by hand; the answer has one form only."""
    x = sample(datatype)
    request = ModelInferRequest(model_name=identity_name(datatype))
    values = [one.encode() for one in x.flat] if datatype == "BYTES" else x.ravel().tolist()
    contents = InferTensorContents(**{DATATYPES[datatype].contents_field or "": values})
    request.inputs.add(name="x", datatype=datatype, shape=x.shape, contents=contents)
    answer = server.infer(request)
    assert not answer.outputs[0].HasField("contents")
    assert answer.raw_output_contents[0] == encode_raw(DATATYPES[datatype], x)


def test_a_bool_that_is_neither_0_nor_1_counts_as_true(server: Server) -> None:
    """Else numpy and onnxruntime would calculate with the byte."""
    request = infer_request("identity_bool", x=np.ones((1, 3), bool))
    request.raw_input_contents[0] = b"\x00\x02\xff"
    assert server.infer(request).raw_output_contents[0] == b"\x00\x01\x01"


def test_a_scalar_has_no_axes_in_and_out(server: Server) -> None:
    """Shape [] and four bytes."""
    answer = server.infer(infer_request("scalar", x=np.array(1.5, np.float32)))
    assert list(answer.outputs[0].shape) == []
    assert arrays_of(answer)["y"] == np.float32(1.5)


def test_32_axes_are_served(server: Server) -> None:
    """The most that the protocol's users have."""
    x = np.arange(6, dtype=np.float32).reshape(RANK_32)
    answer = server.infer(infer_request("rank_32", x=x))
    assert tuple(answer.outputs[0].shape) == RANK_32
    np.testing.assert_array_equal(arrays_of(answer)["y"], x)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3,), (1, 2, 3, 4)])
def test_an_input_that_declares_no_shape_takes_any(server: Server, shape: tuple[int, ...]) -> None:
    """Also none at all, and empty tensors."""
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    answer = server.infer(infer_request("undeclared", x=x))
    assert tuple(answer.outputs[0].shape) == shape
    assert answer.raw_output_contents[0] == x.tobytes()


@pytest.mark.parametrize("rows", [1, 20])
def test_rows_without_elements_are_served(server: Server, rows: int) -> None:
    """Shape [rows,0]: no bytes, also where the request is split."""
    answer = server.infer(infer_request("wide", x=np.empty((rows, 0), np.float32)))
    assert list(answer.outputs[0].shape) == [rows, 0]
    assert list(answer.raw_output_contents) == [b""]


def test_an_optional_input_may_be_left_out(server: Server) -> None:
    """Then the graph's default counts."""
    x = np.array([1, 2], np.float32)
    default = server.infer(infer_request("optional", x=x))
    np.testing.assert_array_equal(arrays_of(default)["y"], [11, 22])
    given = server.infer(infer_request("optional", x=x, bias=np.array([0.5, 0.25], np.float32)))
    np.testing.assert_array_equal(arrays_of(given)["y"], [1.5, 2.25])


def test_inputs_may_come_in_any_order(server: Server) -> None:
    """Names count, not places."""
    a, b = np.full((1, 4), 7, np.int32), np.full((1, 4), 2, np.int32)
    straight = arrays_of(server.infer(infer_request("add_sub", a=a, b=b)))
    swapped = arrays_of(server.infer(infer_request("add_sub", b=b, a=a)))
    np.testing.assert_array_equal(straight["difference"], a - b)
    np.testing.assert_array_equal(swapped["difference"], a - b)


def test_requested_outputs_come_in_the_order_of_the_request(server: Server) -> None:
    """None requested means all, in the order of the graph."""
    a, b = np.full((1, 4), 7, np.int32), np.full((1, 4), 2, np.int32)
    for outputs, expected in [
        ((), ["sum", "difference"]),
        (("difference", "sum"), ["difference", "sum"]),
        (("difference",), ["difference"]),
    ]:
        answer = server.infer(infer_request("add_sub", outputs=outputs, a=a, b=b))
        assert [output.name for output in answer.outputs] == expected
        np.testing.assert_array_equal(arrays_of(answer)["difference"], a - b)


def test_the_answer_names_the_version_that_ran_and_echoes_the_id(server: Server) -> None:
    """Without a version, the newest; the id may be any text."""
    x = np.ones((1, 4), np.float32)
    for version, expected in [("", "3"), ("1", "1"), ("3", "3")]:
        answer = server.infer(infer_request("affine", version=version, request_id=f"id {version} ü", x=x))
        assert (answer.model_name, answer.model_version, answer.id) == ("affine", expected, f"id {version} ü")
