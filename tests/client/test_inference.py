"""The client's core: values to request bytes, answer bytes to results. No network."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sardonyx_client import BadResponse, InvalidArgument, _operations
from sardonyx_client._inference import InferenceCodec, to_array
from sardonyx_client._request import Request
from sardonyx_client._values import Result, Timings
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse

CODEC = InferenceCodec()
NUMBERS = sorted(DATATYPES.keys() - {"BYTES", "BF16"})


def encode_infer(model: str, inputs: list[tuple[str, Any]], **more: Any) -> bytes:
    """The message of a request."""
    return CODEC.encode(Request(model, dict(inputs), **more))


def decode_infer(message: bytes) -> Result:
    """As the clients do it."""
    return CODEC.decode(message, Timings())


def sent(value: Any) -> ModelInferRequest:
    """The request in which one input is sent."""
    return ModelInferRequest.FromString(encode_infer("m", [("x", value)]))


def answer(*outputs: tuple[str, str, list[int]], raw: list[bytes] | None = None) -> bytes:
    """An answer with raw data."""
    response = ModelInferResponse(model_name="m", model_version="1", raw_output_contents=raw or [])
    for name, datatype, shape in outputs:
        response.outputs.add(name=name, datatype=datatype, shape=shape)
    return response.SerializeToString()


class TestEncode:
    """What is on the wire."""

    def test_a_request_holds_what_was_asked(self) -> None:
        """Names, version, id, parameters of each type, requested outputs, data raw in input order."""
        message = encode_infer(
            "iris",
            [("a", np.array([[1, 2]], np.int16)), ("b", np.array([b"x"], object))],
            version="3",
            outputs=("p", "q"),
            request_id="r7",
            parameters={"flag": True, "low": -(2**63), "high": 2**64 - 1, "ratio": 0.5, "text": "t"},
        )
        request = ModelInferRequest.FromString(message)
        assert (request.model_name, request.model_version, request.id) == ("iris", "3", "r7")
        assert [(i.name, i.datatype, list(i.shape)) for i in request.inputs] == [
            ("a", "INT16", [1, 2]),
            ("b", "BYTES", [1]),
        ]
        assert list(request.raw_input_contents) == [b"\1\0\2\0", b"\1\0\0\0x"]
        assert [output.name for output in request.outputs] == ["p", "q"]
        assert {name: parameter.WhichOneof("parameter_choice") for name, parameter in request.parameters.items()} == {
            "flag": "bool_param",
            "low": "int64_param",
            "high": "uint64_param",
            "ratio": "double_param",
            "text": "string_param",
        }

    @pytest.mark.parametrize(
        ("value", "datatype", "shape"),
        [
            ([[1.5, 2]], "FP32", [1, 2]),
            (1.5, "FP32", []),
            ([1, 2], "INT64", [2]),
            ([True], "BOOL", [1]),
            (["a", "b"], "BYTES", [2]),
            (b"raw", "BYTES", []),
            ("text", "BYTES", []),
            (np.float64(1), "FP64", []),
            (np.zeros(2), "FP64", [2]),
            (np.zeros((0, 3), np.float16), "FP16", [0, 3]),
            (np.zeros(2, ">i4"), "INT32", [2]),
            (np.zeros(2, ml_dtypes.bfloat16), "BF16", [2]),
        ],
    )
    def test_values_find_their_datatype(self, value: Any, datatype: str, shape: list[int]) -> None:
        """What has a dtype keeps it; Python's numbers take the one that nearly every model wants."""
        tensor = sent(value).inputs[0]
        assert (tensor.datatype, list(tensor.shape)) == (datatype, shape)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (np.zeros(1, np.complex64), "input 'x': no datatype carries complex64: convert it to one of "),
            ([object()], "input 'x': element 0 is object, expected str or bytes"),
            ([[1], [1, 2]], "input 'x': numpy cannot make an array of it: setting an array element with a sequence"),
        ],
    )
    def test_values_that_cannot_be_sent_are_refused(self, value: Any, text: str) -> None:
        """Before anything is sent, naming the input."""
        with pytest.raises(InvalidArgument) as caught:
            sent(value)
        assert caught.value.message.startswith(text)
        assert caught.value.code is None

    @pytest.mark.parametrize("value", [2**64, -(2**63) - 1, None, [1]])
    def test_parameters_that_cannot_be_sent_are_refused(self, value: Any) -> None:
        """No type of parameter holds them."""
        with pytest.raises(InvalidArgument) as caught:
            encode_infer("m", [], parameters={"p": value})
        assert caught.value.message == f"parameter 'p': expected bool, int of 64 bits, float or str, got {value!r}"

    def test_arrays_are_not_copied_to_be_looked_at(self) -> None:
        """An array stays itself until its bytes are written."""
        array = np.zeros(3)
        assert to_array("x", array) is array


class TestDecode:
    """What is read from an answer."""

    @pytest.mark.parametrize("name", NUMBERS)
    @given(data=st.data())
    def test_what_was_sent_comes_back(self, name: str, data: st.DataObject) -> None:
        """A server that echoes gives the same array."""
        array = data.draw(npst.arrays(DATATYPES[name].dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=3)))
        request = sent(array)
        tensor = request.inputs[0]
        message = answer((tensor.name, tensor.datatype, list(tensor.shape)), raw=list(request.raw_input_contents))
        result = decode_infer(message)
        np.testing.assert_array_equal(result["x"], array)
        assert result["x"].dtype == array.dtype

    def test_a_result_is_a_mapping_in_the_order_of_the_answer(self) -> None:
        """With what the server said about the request."""
        response = ModelInferResponse(model_name="m", model_version="2", id="i", raw_output_contents=[b"\1", b"\0"])
        response.outputs.add(name="b", datatype="BOOL", shape=[1])
        response.outputs.add(name="a", datatype="BOOL", shape=[1])
        response.parameters["triton_final_response"].bool_param = True
        result = decode_infer(response.SerializeToString())
        assert (result.model_name, result.model_version, result.request_id) == ("m", "2", "i")
        assert (list(result), len(result), "a" in result, result.get("c")) == (["b", "a"], 2, True, None)
        assert {name: array.tolist() for name, array in result.items()} == {"b": [True], "a": [False]}
        assert result.parameters == {"triton_final_response": True}
        with pytest.raises(KeyError) as caught:
            result["c"]
        assert caught.value.args == ("no output 'c' in the answer of model 'm', which has 'b', 'a'",)

    def test_bytes_stay_bytes_until_text_is_asked_for(self) -> None:
        """They need not be text."""
        result = decode_infer(answer(("x", "BYTES", [2, 1]), raw=[b"\2\0\0\0\xc3\xa9\1\0\0\0b"]))
        assert result["x"].tolist() == [[b"\xc3\xa9"], [b"b"]]
        assert result.text("x").tolist() == [["é"], ["b"]]

    def test_text_of_what_is_none_is_refused(self) -> None:
        """Numbers, and bytes that are not UTF-8."""
        result = decode_infer(answer(("n", "FP32", [0]), ("b", "BYTES", [1]), raw=[b"", b"\1\0\0\0\xff"]))
        with pytest.raises(TypeError, match=r"^output 'n' holds float32, not text$"):
            result.text("n")
        with pytest.raises(ValueError, match=r"^output 'b': element 0 is not UTF-8: byte 0xff at offset 0$"):
            result.text("b")

    def test_empty_contents_beside_raw_ones_are_none(self) -> None:
        """As MLServer sends them."""
        message = ModelInferResponse(raw_output_contents=[np.array([1, 2], np.float32).tobytes()])
        message.outputs.add(name="y", datatype="FP32", shape=[2]).contents.SetInParent()
        result = InferenceCodec().decode(message.SerializeToString(), Timings())
        assert result["y"].tolist() == [1, 2]

    def test_typed_contents_are_read_too(self) -> None:
        """Other servers answer with them."""
        response = ModelInferResponse()
        output = response.outputs.add(name="x", datatype="INT8", shape=[2])
        output.contents.int_contents.extend([1, -1])
        assert decode_infer(response.SerializeToString())["x"].tolist() == [1, -1]

    @pytest.mark.parametrize(
        ("message", "text"),
        [
            (b"\xff", "the answer is no inference.ModelInferResponse"),
            (b"\x1a\1\xff", "the answer is no inference.ModelInferResponse"),  # an id that is no text
            (
                answer(("x", "FP32", [1] * 65), raw=[bytes(4)]),
                "output 'x': shape [1,1,1,1,...] has 65 axes, more than 32",
            ),
            (answer(("x", "FP32", [1]), raw=[b"", b""]), "expected 1 raw outputs in the answer, got 2"),
            (answer(("x", "FP99", [1]), raw=[b""]), "output 'x': unknown datatype 'FP99' in the answer"),
            (answer(("x", "FP32", [1]), raw=[b""]), "output 'x': expected 4 bytes for FP32 [1], got 0"),
            (answer(("x", "FP32", [-1]), raw=[b""]), "output 'x': shape [-1] has a negative size"),
            (answer(("x", "BOOL", [1]), ("x", "BOOL", [1]), raw=[b"\0", b"\0"]), "output 'x' is in the answer twice"),
        ],
    )
    def test_answers_that_break_the_protocol_are_refused(self, message: bytes, text: str) -> None:
        """The server may not be ours."""
        with pytest.raises(BadResponse) as caught:
            decode_infer(message)
        assert caught.value.message == text

    def test_every_answer_is_parsed_with_the_same_care(self) -> None:
        """Not only that of inference."""
        with pytest.raises(BadResponse, match=r"^the answer is no inference\.ServerLiveResponse$"):
            _operations.live().decode(b"\xff")
