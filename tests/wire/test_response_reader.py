"""The reader of responses agrees with protobuf, whatever it is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferResponse
from sardonyx_wire.protobuf_fields import decode_id, encode_id
from sardonyx_wire.request_reader import MalformedMessage
from sardonyx_wire.response_reader import DecodedResponse, ResponseReader, decode_response_with_protobuf

responses = st.builds(
    ModelInferResponse,
    model_name=st.text(max_size=10),
    model_version=st.sampled_from(["", "1", "17"]),
    id=st.one_of(st.just(""), st.text(max_size=200)),
    outputs=st.lists(
        st.builds(
            ModelInferResponse.InferOutputTensor,
            name=st.text(max_size=5),
            datatype=st.sampled_from(["FP32", "BYTES", "nothing"]),
            shape=st.lists(st.integers(-1, 2**40), max_size=4),
        ),
        max_size=3,
    ),
    raw_output_contents=st.lists(st.binary(max_size=300), max_size=3),
)


def flat(decoded: DecodedResponse) -> object:
    """All that was read, as values that compare."""
    header, id_field, payloads = decoded
    outputs = [(each.name, each.datatype, each.shape, each.parameters, each.contents) for each in header.outputs]
    found = (header.model_name, header.model_version, header.parameters, outputs)
    return found, decode_id(id_field), [bytes(each) for each in payloads]


@given(st.lists(responses, min_size=1, max_size=3))
def test_the_reader_gives_what_protobuf_gives(messages: list[ModelInferResponse]) -> None:
    """Also the second time, when the header is remembered."""
    reader = ResponseReader()
    for message in [*messages, *messages]:
        encoded = message.SerializeToString()
        assert flat(reader.decode(encoded)) == flat(decode_response_with_protobuf(encoded))


@given(responses, st.integers(0, 400), st.binary(max_size=4))
def test_broken_messages_are_read_or_refused_as_protobuf_does(
    message: ModelInferResponse, cut: int, more: bytes
) -> None:
    """Truncated, and with bytes behind."""
    encoded = message.SerializeToString()[:cut] + more
    try:
        expected = flat(decode_response_with_protobuf(encoded))
    except MalformedMessage:
        with pytest.raises(MalformedMessage):
            ResponseReader().decode(encoded)
    else:
        assert flat(ResponseReader().decode(encoded)) == expected


@given(st.text(max_size=300))
def test_an_id_survives_its_field(request_id: str) -> None:
    """Of any length and script."""
    assert decode_id(encode_id(request_id)) == request_id


def test_far_too_many_fields_are_refused() -> None:
    """Two bytes are enough for one, and each becomes an object."""
    with pytest.raises(MalformedMessage, match=r"^the message has more than 16384 fields"):
        ResponseReader().decode(b"\x32\x00" * 16385)
