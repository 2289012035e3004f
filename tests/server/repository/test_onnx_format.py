"""The subset of ONNX's format agrees with the onnx package, and pruning changes nothing but the size."""

from __future__ import annotations

import contextlib
from typing import Any

import onnx
import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from sardonyx_server.repository import onnx_format
from sardonyx_server.repository.onnx_format import MESSAGES, MalformedModelError, parse_model, prune
from sardonyx_wire.protobuf_fields import encode_length
from tests.server.repository.onnx_models import linear

# Messages that the subset names otherwise than ONNX, because there they are nested or alike.
_ONNX_NAMES = {
    "TensorTypeProto": "TypeProto.Tensor",
    "DimensionProto": "TensorShapeProto.Dimension",
    "HolderProto": "TypeProto.Sequence",
    "ZipMapProto": "NodeProto",
    "KeysProto": "AttributeProto",
}


def _onnx_fields(name: str) -> dict[str, Any]:
    found: Any = onnx
    for part in _ONNX_NAMES.get(name, name).split("."):
        found = getattr(found, part)
    # As a message, whose fields are the same in every protobuf.
    copy = descriptor_pb2.DescriptorProto()
    found.DESCRIPTOR.CopyToProto(copy)
    return {field.name: field for field in copy.field}


@pytest.mark.parametrize("name", sorted(onnx_format._MESSAGES.keys() - {"OpaqueProto"}))
def test_the_subset_agrees_with_onnx(name: str) -> None:
    """Numbers, kinds and labels of all fields are ONNX's own."""
    theirs = _onnx_fields(name)
    for declared, (number, kind) in onnx_format._MESSAGES[name].items():
        field = theirs.get(declared.removesuffix("[]"))
        if field is None:
            assert declared == "opaque_type"  # only in builds of onnx with ONNX-ML's experimental types
            continue
        assert field.number == number
        assert bool(field.type == field.TYPE_MESSAGE) == (kind in onnx_format._MESSAGES)
        assert declared.endswith("[]") == (field.label == field.LABEL_REPEATED)


_TENSORS = st.builds(
    lambda name, raw, location: onnx.TensorProto(
        name=name, raw_data=raw, dims=[len(raw)], data_type=2, data_location=location
    ),
    st.text(max_size=5),
    st.binary(max_size=900),
    st.sampled_from([0, 1]),
)


# What a forest has in its attributes, on both sides of what is passed over at once.
_LISTS = st.fixed_dictionaries(
    {
        "floats": st.lists(st.floats(width=32, allow_nan=False), max_size=200),
        "ints": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=200),
        "strings": st.lists(st.binary(max_size=40), max_size=40),
    }
)


@st.composite
def _graphs(draw: st.DrawFn, depth: int = 2) -> onnx.GraphProto:
    graph = onnx.GraphProto(name=draw(st.text(max_size=5)), initializer=draw(st.lists(_TENSORS, max_size=2)))
    graph.sparse_initializer.extend(
        onnx.SparseTensorProto(values=tensor, dims=[3]) for tensor in draw(st.lists(_TENSORS, max_size=1))
    )
    for name in draw(st.lists(st.text(max_size=5), max_size=2)):
        value = graph.input.add(name=name)
        value.type.tensor_type.elem_type = draw(st.integers(0, 30))
        value.type.tensor_type.shape.dim.add(dim_param=draw(st.text(max_size=700)))
    for _ in range(draw(st.integers(0, 2))):
        node = graph.node.add(op_type="If", doc_string=draw(st.text(max_size=300)))
        attribute = node.attribute.add(name="a", t=draw(_TENSORS), **draw(_LISTS))
        if depth:
            attribute.g.CopyFrom(draw(_graphs(depth=depth - 1)))
    return graph


@settings(max_examples=100, deadline=None)
@given(graph=_graphs(), small_bytes=st.sampled_from([0, 16, 512]))
def test_pruning_keeps_all_that_the_subset_knows(graph: onnx.GraphProto, small_bytes: int) -> None:
    """A pruned model parses to the same message as the whole one without its unknown fields."""
    model = onnx.ModelProto(ir_version=8, graph=graph, doc_string="x" * 600)
    model.functions.add(name="f").node.add(op_type="Constant").attribute.add(name="v", t=onnx.TensorProto(name="t"))
    data = model.SerializeToString()
    whole = MESSAGES["ModelProto"].FromString(data)
    whole.DiscardUnknownFields()
    pruned = MESSAGES["ModelProto"].FromString(prune(data, small_bytes=small_bytes))
    pruned.DiscardUnknownFields()
    assert pruned == whole


def test_fields_that_come_in_pieces_are_joined() -> None:
    """Protobuf merges a message that is there twice; so does what is left of it."""
    first = onnx.ModelProto(graph=onnx.GraphProto(initializer=[onnx.TensorProto(name="a", raw_data=b"x" * 999)]))
    second = onnx.ModelProto(graph=onnx.GraphProto(initializer=[onnx.TensorProto(name="b", raw_data=b"x" * 999)]))
    parsed = parse_model(first.SerializeToString() + second.SerializeToString())
    assert [tensor.name for tensor in parsed.graph.initializer] == [b"a", b"b"]


@pytest.mark.parametrize("size", [1, 3_276, 3_277, 50_000])
def test_the_branches_of_a_forest_are_left_out(size: int) -> None:
    """However many there are; what lies between and behind them is found."""
    tensor = onnx.TensorProto(name="t", data_location=onnx.TensorProto.EXTERNAL)
    node = onnx.NodeProto(op_type="TreeEnsembleClassifier")
    node.attribute.add(name="values", floats=[0.5] * size, ints=[-size] * size, strings=[b"BRANCH_LEQ"] * size)
    node.attribute[0].tensors.append(tensor)
    node.attribute.add(name="last", t=tensor)
    data = onnx.ModelProto(graph=onnx.GraphProto(node=[node])).SerializeToString()
    (parsed,) = parse_model(data).graph.node
    assert [each.name for attribute in parsed.attribute for each in (*attribute.tensors, attribute.t)] == [
        b"t",
        b"",
        b"t",
    ]
    assert size == 1 or len(prune(data)) < 120


def test_weights_are_left_out() -> None:
    """What is kept of a model of a megabyte is small."""
    data = onnx.ModelProto(
        graph=onnx.GraphProto(initializer=[onnx.TensorProto(name="w", raw_data=bytes(2**20))])
    ).SerializeToString()
    assert len(prune(data)) < 64


@given(st.one_of(st.binary(max_size=80), st.integers(0, len(linear())).map(lambda cut: linear()[:cut])))
def test_any_bytes_are_a_model_or_refused(data: bytes) -> None:
    """Random and cut files raise MalformedModelError and nothing else."""
    with contextlib.suppress(MalformedModelError):
        parse_model(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a\xff\xff\xff\xff\x0f",  # a graph beyond the end
        b"\x08" + b"\xff" * 11,  # a number that does not end
        b"\x3b\x3c",  # a group
        b"\x02\x00",  # field number 0
        b"\x09\x00",  # half of 8 bytes
    ],
)
def test_malformed_fields_are_refused(data: bytes) -> None:
    """Lengths, numbers and keys are checked before anything is read by them."""
    with pytest.raises(MalformedModelError):
        prune(data)


@pytest.mark.parametrize("inner", [b"\x80", b"\x08\x80", b"\x0a\x80", b"\x0d\x00"])
def test_a_field_ends_within_its_message(inner: bytes) -> None:
    """What stands behind the message is no part of its last field: a key, a number, a length, half of four bytes."""
    data = b"\x3a" + encode_length(len(inner)) + inner + bytes.fromhex("010808080808")
    with pytest.raises(MalformedModelError, match="beyond the end"):
        prune(data, small_bytes=0)


def test_deep_nesting_is_refused() -> None:
    """Subgraphs in subgraphs end where protobuf's own limit is, not at the end of the stack."""
    data = b"x" * 600
    for _ in range(3_000):
        for key in (0x32, 0x2A, 0x0A):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            data = bytes([key]) + encode_length(len(data)) + data
    with pytest.raises(MalformedModelError, match="nested too deeply"):
        parse_model(b"\x3a" + encode_length(len(data)) + data)
