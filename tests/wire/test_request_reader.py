"""The reader of requests agrees with protobuf on every message, whole, cut, reordered or random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.protobuf_fields import MAX_FIELDS
from sardonyx_wire.request_reader import Decoded, Header, MalformedMessage, RequestReader, decode_with_protobuf

names = st.text(max_size=12)
parameters = st.dictionaries(
    st.text(max_size=8),
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=8), st.floats(allow_nan=False)),
    max_size=3,
)


def set_parameters(target: Any, values: Mapping[str, object]) -> None:
    """Fill a message's map of parameters."""
    for key, value in values.items():
        parameter = target[key]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int):
            parameter.int64_param = value
        elif isinstance(value, str):
            parameter.string_param = value
        else:
            parameter.double_param = value


@st.composite
def messages(draw: st.DrawFn) -> ModelInferRequest:
    """Requests of any content, sensible or not."""
    message = ModelInferRequest(model_name=draw(names), model_version=draw(names), id=draw(st.text(max_size=200)))
    set_parameters(message.parameters, draw(parameters))
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(
            name=draw(names),
            datatype=draw(st.sampled_from(["FP32", "INT64", "BYTES", "x"])),
            shape=draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)),
        )
        set_parameters(tensor.parameters, draw(parameters))
        if draw(st.booleans()):
            tensor.contents.fp32_contents.extend([1.0, 2.0])
    for _ in range(draw(st.integers(0, 2))):
        output = message.outputs.add(name=draw(names))
        set_parameters(output.parameters, draw(parameters))
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=300), max_size=3)))
    return message


def text_of(values: Mapping[str, object]) -> str:
    """Parameters, comparable although NaN differs from itself."""
    return repr(sorted(values.items()))


def plain(decoded: Decoded) -> object:
    """What a decoded request says, comparable."""
    header, id_field, payloads = decoded
    assert isinstance(header, Header)
    return (
        header.route,
        text_of(header.parameters),
        [
            (t.name, t.datatype, t.shape, text_of(t.parameters), t.contents.SerializeToString() if t.contents else None)
            for t in header.inputs
        ],
        [(t.name, text_of(t.parameters)) for t in header.outputs],
        ModelInferRequest.FromString(id_field).id,
        [bytes(payload) for payload in payloads],
    )


def outcome(decode: Callable[[bytes], Decoded], data: bytes) -> object:
    """What a decoder makes of a message: the request, or the text of its refusal."""
    try:
        return plain(decode(data))
    except MalformedMessage as error:
        return str(error)


@given(messages())
def test_reads_what_protobuf_reads(message: ModelInferRequest) -> None:
    """Any message means the same to the reader and to protobuf, on first sight and from the memo."""
    data = message.SerializeToString()
    reader = RequestReader()
    expected = outcome(decode_with_protobuf, data)
    assert outcome(reader.decode, data) == expected
    assert outcome(reader.decode, data) == expected


@given(messages(), st.data())
def test_cut_and_spliced_messages_mean_the_same_to_both(message: ModelInferRequest, data: st.DataObject) -> None:
    """A message cut anywhere, or with its bytes reordered, is read or refused as protobuf reads or refuses it."""
    encoded = message.SerializeToString()
    at = data.draw(st.integers(0, len(encoded)))
    reader = RequestReader()
    for variant in (encoded[:at], encoded[at:] + encoded[:at], encoded + encoded, encoded + encoded[:at]):
        assert outcome(reader.decode, variant) == outcome(decode_with_protobuf, variant)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_mean_the_same_to_both(data: bytes) -> None:
    """Bytes that are no message at all are refused by both, and never raise anything else."""
    assert outcome(RequestReader().decode, data) == outcome(decode_with_protobuf, data)


@given(messages(), st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_means_the_same_to_both(message: ModelInferRequest, position: int, value: int) -> None:
    """One wrong byte anywhere is taken by the reader exactly as protobuf takes it."""
    data = bytearray(message.SerializeToString() or b"\x00")
    data[position % len(data)] = value
    assert outcome(RequestReader().decode, bytes(data)) == outcome(decode_with_protobuf, bytes(data))


def test_requests_that_differ_in_id_and_payload_share_a_header() -> None:
    """The memo knows a header again although id and payload changed; payloads are views, not copies."""
    reader = RequestReader()
    message = ModelInferRequest(model_name="m", id="1", raw_input_contents=[b"aaaa"])
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    first, first_id, _ = reader.decode(message.SerializeToString())
    message.id = "22222"
    message.raw_input_contents[0] = b"bbbb"
    data = message.SerializeToString()
    second, second_id, payloads = reader.decode(data)
    assert second is first
    assert (first_id, second_id) == (b"\x1a\x011", b"\x1a\x0522222")
    assert payloads[0].obj is data


@given(messages(), st.data())
def test_what_is_foreseen_is_what_is_read(message: ModelInferRequest, data: st.DataObject) -> None:
    """Of a message that is cut anywhere: its header, or nothing."""
    whole = message.SerializeToString()
    reader = RequestReader()
    header, _, payloads = reader.decode(whole)
    header_bytes = len(whole) - len(
        ModelInferRequest(raw_input_contents=message.raw_input_contents).SerializeToString()
    )
    cut = data.draw(st.integers(0, len(whole)))
    foreseen = reader.peek_header(memoryview(whole)[:cut])
    assert foreseen in (None, header)
    if payloads and cut > header_bytes and all(tensor.contents is None for tensor in header.inputs):
        assert foreseen is header


@given(st.binary(max_size=60))
def test_random_bytes_foretell_nothing(beginning: bytes) -> None:
    """What was never read is not known."""
    assert RequestReader().peek_header(beginning) is None


def test_nothing_is_foreseen_before_the_first_payload_begins() -> None:
    """More of the header may follow."""
    message = ModelInferRequest(model_name="m", id="one", raw_input_contents=[bytes(100)])
    message.inputs.add(name="x", datatype="FP32", shape=[5, 5])
    reader, whole = RequestReader(), message.SerializeToString()
    header, _, _ = reader.decode(whole)
    message.id = "another, which is longer"
    whole = message.SerializeToString()
    header_bytes = len(whole) - 102
    assert reader.peek_header(whole[:header_bytes]) is None
    assert reader.peek_header(whole[: header_bytes + 1]) is header


def test_the_memo_is_bounded() -> None:
    """Callers choose the keys, so neither many nor large headers stay in memory, and typed data never do."""
    reader = RequestReader()
    for number in range(5000):
        reader.decode(ModelInferRequest(model_name=f"model-{number}").SerializeToString())
    assert len(reader._memo) <= 1024
    large = ModelInferRequest(model_name="m" * 5000).SerializeToString()
    assert reader.decode(large)[0] is not reader.decode(large)[0]
    typed = ModelInferRequest(model_name="m")
    typed.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    data = typed.SerializeToString()
    assert reader.decode(data)[0] is not reader.decode(data)[0]


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 2097152])
def test_payloads_of_every_length_are_found(length: int) -> None:
    """Lengths of one to four varint bytes."""
    data = ModelInferRequest(model_name="m", raw_input_contents=[b"x" * length, b"yz"]).SerializeToString()
    _, _, payloads = RequestReader().decode(data)
    assert [len(payload) for payload in payloads] == [length, 2]


@pytest.mark.parametrize("tag", [0x0A, 0x22, 0x2A, 0x32, 0x3A])
@pytest.mark.parametrize("typed", [memoryview, bytes])
def test_far_too_many_fields_are_refused_before_they_are_looked_at(
    tag: int, typed: Callable[[bytes], bytes | memoryview]
) -> None:
    """Two bytes are enough for one, and an object for each is a hundred times as much memory."""
    most = bytes((tag, 0)) * MAX_FIELDS
    with pytest.raises(MalformedMessage, match=r"^the message has more than 16384 fields, which no model takes$"):
        RequestReader().decode(typed(most + most[:2]))
    header, _, payloads = RequestReader().decode(typed(most[: 2 * 4096]))
    assert max(len(header.inputs), len(header.outputs), len(payloads), 4096) == 4096


def test_far_too_many_entries_that_protobuf_finds_are_refused() -> None:
    """In a message that is unusual, so that nobody counted before it was parsed."""
    with pytest.raises(MalformedMessage, match=r"^raw_input_contents: expected at most 4096 entries, got 4097$"):
        RequestReader().decode(b"\x90\x01\x00" + b"\x3a\x00" * 4097)


def test_far_too_many_entries_of_one_tensor_are_refused() -> None:
    """Dimensions and parameters become objects, too."""
    message = ModelInferRequest(model_name="m")
    message.inputs.add(name="a")
    message.inputs.add(name="b", shape=[1] * 65_537)
    with pytest.raises(MalformedMessage, match=r"^inputs\[1\].shape: expected at most 65536 entries, got 65537$"):
        RequestReader().decode(message.SerializeToString())
    message.inputs[1].shape[:] = [1]
    set_parameters(message.inputs[1].parameters, {str(number): number for number in range(4097)})
    with pytest.raises(MalformedMessage, match=r"^inputs\[1\].parameters: expected at most 4096 entries, got 4097$"):
        RequestReader().decode(message.SerializeToString())


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_far_too_many_entries_are_refused_before_they_become_objects(what: str) -> None:
    """Five megabytes can hold a million requested outputs."""
    message = ModelInferRequest(model_name="m")
    for _ in range(4097):
        getattr(message, what).add(name="x")
    with pytest.raises(MalformedMessage, match=f"{what}: expected at most 4096 entries, got 4097"):
        RequestReader().decode(message.SerializeToString())
