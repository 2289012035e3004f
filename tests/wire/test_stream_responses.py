"""Frames of a stream are the messages that protobuf would have made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from sardonyx_wire.protobuf_fields import MAX_FIELDS, MessageParts
from sardonyx_wire.stream_responses import request_id, stream_error, stream_response

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(texts, texts, st.lists(st.binary(max_size=300), max_size=3))
def test_an_answer_is_wrapped_and_marked_as_the_last(model: str, request: str, data: list[bytes]) -> None:
    """Everything in it stays as it was; one parameter comes to it."""
    answer = ModelInferResponse(model_name=model, id=request, raw_output_contents=data)
    answer.outputs.add(name="y", datatype="FP32", shape=[1, 2])
    frame = ModelStreamInferResponse.FromString(stream_response(answer.SerializeToString()))
    answer.parameters["triton_final_response"].bool_param = True
    assert frame == ModelStreamInferResponse(infer_response=answer)


def test_an_answer_in_pieces_is_put_together() -> None:
    """A stream sends each answer as one message."""
    pieces = MessageParts([b"\x0a\x01m", memoryview(b"\x1a\x01"), b"7"])
    assert stream_response(pieces) == stream_response(bytes(pieces))


def test_a_parameter_that_is_there_stays_beside_the_mark() -> None:
    """An entry of a map may stand anywhere in the message."""
    answer = ModelInferResponse(raw_output_contents=[b"x"])
    answer.parameters["mine"].int64_param = 3
    frame = ModelStreamInferResponse.FromString(stream_response(answer.SerializeToString()))
    assert set(frame.infer_response.parameters) == {"mine", "triton_final_response"}


@given(texts.filter(bool), texts)
def test_an_error_carries_text_and_id(text: str, request: str) -> None:
    """And is marked as the last answer to its request, too."""
    expected = ModelStreamInferResponse(error_message=text)
    expected.infer_response.id = request
    expected.infer_response.parameters["triton_final_response"].bool_param = True
    assert ModelStreamInferResponse.FromString(stream_error(text, request)) == expected


@given(texts, texts, st.lists(st.binary(max_size=300), max_size=3), st.binary(max_size=4))
def test_the_id_of_a_request_is_found(model: str, request: str, data: list[bytes], version: bytes) -> None:
    """Wherever it stands; the last one counts, as protobuf has it."""
    message = ModelInferRequest(model_name=model, model_version=version.hex(), raw_input_contents=data)
    message.parameters["timeout"].int64_param = -1
    rest = message.SerializeToString()
    ours = ModelInferRequest(id=request).SerializeToString()
    assert request_id(rest + ours) == request
    assert request_id(ours + rest) == request
    assert request_id(ModelInferRequest(id="another").SerializeToString() + rest + ours) == (request or "another")


@given(st.binary(max_size=60))
def test_no_bytes_have_an_id_that_protobuf_reads_otherwise(message: bytes) -> None:
    """And none make it raise."""
    found = request_id(message)
    try:
        expected = ModelInferRequest.FromString(message)
    except Exception:  # noqa: BLE001  # which one depends on protobuf
        return
    assert found in {expected.id, ""}


@pytest.mark.parametrize(
    "message",
    [
        b"\x1a\x05ab",  # an id that is cut short
        b"\x1a\x02\xff\xfe",  # one that is not UTF-8
        b"\x1a\x02ab\xff",  # a tag without an end
        b"\x1a\x02ab" + b"\xff" * 20,
        b"\x1a\x02ab\x7b",  # a group
        b"\x1a\x02ab\x79\x01",  # eight bytes, of which one is there
        b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_a_message_that_is_broken_has_no_id(message: bytes) -> None:
    """Whatever stood before the damage."""
    assert request_id(message) == ""


def test_unknown_fields_of_any_kind_are_passed_over() -> None:
    """A number, eight bytes, four bytes, a text; with field numbers of more than one byte."""
    unknown = b"\x78\x05" + b"\x79" + bytes(8) + b"\x7d" + bytes(4) + b"\xa2\x06\x03new"
    assert request_id(unknown + b"\x1a\x02ab" + unknown) == "ab"


def test_the_id_is_not_looked_for_without_end() -> None:
    """The stream's thread is everybody's: a message of 256 MiB of such fields took a minute."""
    field = b"\x08\x05"
    assert request_id(field * (MAX_FIELDS - 1) + b"\x1a\x02ab") == "ab"
    assert request_id(field * MAX_FIELDS + b"\x1a\x02ab") == ""
