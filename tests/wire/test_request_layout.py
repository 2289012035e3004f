"""A message whose layout is known is cut as the walk over its fields cuts it, or left to that walk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_wire.messages import ModelInferRequest
from sardonyx_wire.request_layout import Layout
from sardonyx_wire.request_reader import Decoded, Header, MalformedMessage, RequestReader, decode_with_protobuf

RAW_TAG = 7 << 3 | 2


def request(*, name: str, request_id: str, sizes: list[int], fill: int = 0) -> bytes:
    """A request with a tensor for each payload."""
    message = ModelInferRequest(model_name=name, id=request_id)
    for index, size in enumerate(sizes):
        message.inputs.add(name=f"x{index}", datatype="UINT8", shape=[1, size])
        message.raw_input_contents.append(bytes((fill,)) * size)
    return message.SerializeToString()


def told(decoded: Decoded) -> tuple[object, bytes, list[bytes]]:
    """Comparable."""
    header, id_field, payloads = decoded
    inputs = [(tensor.name, tensor.datatype, tensor.shape) for tensor in header.inputs]
    return (header.route, inputs), id_field, [bytes(payload) for payload in payloads]


def layout_of(message: bytes) -> tuple[Layout, Header]:
    """As the reader learns it."""
    header = RequestReader().decode(message)[0]
    return Layout(message, header, raw_tag=RAW_TAG), header


def learned(message: bytes) -> RequestReader:
    """A reader that knows the layout of a message."""
    reader = RequestReader()
    for _ in range(40):
        reader.decode(message)
    assert len(message) in reader._layouts
    return reader


ids = st.text(max_size=140)
sizes = st.lists(st.sampled_from([0, 1, 4, 127, 128, 300]), max_size=3)


@given(st.sampled_from(["m", "another"]), ids, sizes, st.integers(0, 255))
def test_payloads_are_found_whatever_they_hold(name: str, request_id: str, lengths: list[int], fill: int) -> None:
    """A message that differs in its payloads alone: views of it, and its own id."""
    reader = learned(request(name=name, request_id=request_id, sizes=lengths))
    message = request(name=name, request_id=request_id, sizes=lengths, fill=fill)
    decoded = reader.decode(message)
    assert told(decoded) == told(decode_with_protobuf(message))
    assert all(payload.obj is message for payload in decoded[2])


@given(st.text("ab1", max_size=9), st.text("ab\xe4\u20ac", max_size=9), sizes)
def test_ids_are_cut_out(known: str, request_id: str, lengths: list[int]) -> None:
    """Of any other message, with an id of the same length or of another."""
    reader = learned(request(name="m", request_id=known, sizes=lengths))
    message = request(name="m", request_id=request_id, sizes=lengths)
    assert told(reader.decode(message)) == told(decode_with_protobuf(message))


def variants(message: bytes, data: st.DataObject) -> Iterator[bytes]:
    """A byte is another one; and two halves are exchanged."""
    changed = bytearray(message)
    changed[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    yield bytes(changed)
    at = data.draw(st.integers(0, len(message)))
    yield message[at:] + message[:at]


@given(st.text("ab", max_size=4), sizes, st.data())
def test_what_differs_anywhere_is_read_as_by_protobuf(request_id: str, lengths: list[int], data: st.DataObject) -> None:
    """A message of the same length, one byte of which is another: names, lengths, tags, shapes, bad ids."""
    message = request(name="m", request_id=request_id, sizes=lengths)
    reader = learned(message)
    for variant in variants(message, data):
        try:
            expected = told(decode_with_protobuf(variant))
        except MalformedMessage as error:
            with pytest.raises(MalformedMessage, match=str(error)):
                reader.decode(variant)
        else:
            assert told(reader.decode(variant)) == expected


def test_a_layout_knows_its_own_messages_and_no_others() -> None:
    """Its header is the one that it was made for; whatever else differs is for the walk."""
    layout, header = layout_of(request(name="m", request_id="7", sizes=[4, 4]))
    read = layout.read(request(name="m", request_id="8", sizes=[4, 4], fill=9))
    assert read is not None
    assert read[0] is header
    assert told(read)[1:] == (b"\x1a\x018", [b"\x09" * 4] * 2)
    assert layout.read(request(name="n", request_id="8", sizes=[4, 4])) is None
    assert layout.read(request(name="m", request_id="8", sizes=[3, 5])) is None


def test_an_id_that_is_not_ascii_is_left_to_the_walk() -> None:
    """It may be no UTF-8, which protobuf refuses."""
    layout, _ = layout_of(request(name="m", request_id="ab", sizes=[4]))
    message = request(name="m", request_id="\u00e4", sizes=[4])
    assert layout.read(message) is None
    broken = message.replace("\u00e4".encode(), b"\xff\xff")
    with pytest.raises(MalformedMessage):
        learned(request(name="m", request_id="ab", sizes=[4])).decode(broken)


def test_layouts_are_bounded() -> None:
    """Callers choose lengths."""
    reader = RequestReader()
    for size in range(9000):
        reader.decode(request(name="m", request_id="x" * (size % 600), sizes=[4]))
    assert 0 < len(reader._layouts) <= 256


def test_a_message_of_very_many_payloads_gets_no_layout() -> None:
    """Two bytes are enough for one, and its place in a layout takes a hundred times as much, for ever."""
    header = request(name="m", request_id="", sizes=[])
    reader = RequestReader()
    for _ in range(40):
        reader.decode(header + bytes((RAW_TAG, 0)) * 65)
    assert not reader._layouts
    learned(header + bytes((RAW_TAG, 0)) * 64)


def test_a_header_that_is_not_remembered_gets_no_layout() -> None:
    """One that is long, or has typed contents, which would be taken for another request's."""
    long = ModelInferRequest(model_name="m" * 5000).SerializeToString()
    message = ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    reader = RequestReader()
    for _ in range(40):
        reader.decode(long)
        reader.decode(message.SerializeToString())
    assert not reader._layouts


def test_models_of_one_length_take_turns() -> None:
    """Messages of two models that are equally long are both read for what they are."""
    reader = RequestReader()
    for number in range(200):
        name = "ab"[number % 2]
        assert reader.decode(request(name=name, request_id="", sizes=[4]))[0].route == (name, "")


def test_pieces_of_memory_are_walked() -> None:
    """A message that came in pieces is no bytes, and is read all the same."""
    message = request(name="m", request_id="", sizes=[4])
    reader = learned(message)
    assert told(reader.decode(memoryview(message))) == told(decode_with_protobuf(message))
