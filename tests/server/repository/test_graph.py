"""Signatures as the graph declares them, and which files outside of it a model names."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.graph import Graph, GraphCache, read_graph
from sardonyx_server.repository.hashed_content import HashedContent
from sardonyx_wire.tensors import TensorSpec
from tests.server.repository.onnx_models import external, linear, model_of, tensor_info, weights

if TYPE_CHECKING:
    from collections.abc import Callable

SUBJECT = "version 1 of model 'm'"
FLOAT = TensorProto.FLOAT


def _identity(value: onnx.ValueInfoProto, output: onnx.ValueInfoProto | None = None) -> bytes:
    """``y = x`` with those declarations."""
    if output is None:
        output = onnx.ValueInfoProto()
        output.CopyFrom(value)
        output.name = "y"
    return model_of(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [output]))


def _read(data: bytes) -> Graph:
    return read_graph(data, SUBJECT)


@pytest.mark.parametrize(
    ("declared", "shape", "names"),
    [
        (["N", 4], (-1, 4), ("N", "")),
        ([None, 4], (-1, 4), ("", "")),
        ([], (), ()),
        (None, None, ()),
        ([0], (0,), ("",)),
        ([-1, 4], (-1, 4), ("", "")),
        (["floor(N/2 + 1)*3"], (-1,), ("floor(N/2 + 1)*3",)),
    ],
)
def test_shapes_are_read_from_the_file(
    declared: list[int | str | None] | None, shape: tuple[int, ...] | None, names: tuple[str, ...]
) -> None:
    """A scalar is not a shape that nobody declared, which onnxruntime cannot tell."""
    inputs, outputs = _read(_identity(tensor_info("x", FLOAT, declared))).signature()
    assert inputs == (TensorSpec(name="x", datatype="FP32", shape=shape, dim_names=names),)
    assert outputs[0].shape == shape


def test_onnxruntime_shows_scalar_and_undeclared_alike() -> None:
    """The reason that shapes are read here."""
    for value in (tensor_info("x", FLOAT, []), tensor_info("x", FLOAT, None)):
        session = onnxruntime.InferenceSession(_identity(value), providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].shape == []


@pytest.mark.parametrize(
    ("element", "datatype"),
    [
        ("BOOL", "BOOL"),
        ("INT8", "INT8"),
        ("INT16", "INT16"),
        ("INT32", "INT32"),
        ("INT64", "INT64"),
        ("UINT8", "UINT8"),
        ("UINT16", "UINT16"),
        ("UINT32", "UINT32"),
        ("UINT64", "UINT64"),
        ("FLOAT16", "FP16"),
        ("FLOAT", "FP32"),
        ("DOUBLE", "FP64"),
        ("BFLOAT16", "BF16"),
        ("STRING", "BYTES"),
    ],
)
def test_every_datatype_of_the_protocol(element: str, datatype: str) -> None:
    """ONNX's element types by the names of the protocol."""
    inputs, _ = _read(_identity(tensor_info("x", TensorProto.DataType.Value(element), ["N"]))).signature()
    assert inputs[0].datatype == datatype


@pytest.mark.parametrize("element", ["COMPLEX64", "FLOAT8E4M3FN", "INT4"])
def test_other_element_types_are_refused(element: str) -> None:
    """The message names the type and the way out."""
    graph = _read(_identity(tensor_info("x", TensorProto.DataType.Value(element), ["N"])))
    with pytest.raises(LoadFailed) as caught:
        graph.signature()
    assert caught.value.message == (
        f"{SUBJECT}: input 'x' is {element}, which the protocol does not have; cast it inside the model"
    )


def test_an_element_type_of_the_future_is_refused_by_number() -> None:
    """Later versions of ONNX add types."""
    value = tensor_info("x", FLOAT, ["N"])
    value.type.tensor_type.elem_type = 99
    with pytest.raises(LoadFailed, match=r"input 'x' is of element type 99, which the protocol does not have"):
        _read(_identity(value)).signature()


def _sequence_of_maps() -> onnx.ValueInfoProto:
    value = onnx.ValueInfoProto(name="y")
    inner = value.type.sequence_type.elem_type.map_type
    inner.key_type = TensorProto.INT64
    inner.value_type.tensor_type.elem_type = FLOAT
    return value


def _map() -> onnx.ValueInfoProto:
    value = onnx.ValueInfoProto(name="y")
    value.type.map_type.key_type = TensorProto.INT64
    return value


def _sparse() -> onnx.ValueInfoProto:
    return helper.make_sparse_tensor_value_info("y", FLOAT, ["N"])


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (_sequence_of_maps(), "is a sequence of maps, expected a tensor; export with zipmap=False"),
        (_map(), "is a map, expected a tensor; export the model with tensors only"),
        (
            helper.make_tensor_sequence_value_info("y", FLOAT, ["N"]),
            "is a sequence of tensors, expected a tensor; export the model with tensors only",
        ),
        (
            helper.make_value_info("y", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["N"]))),
            "is an optional of tensors, expected a tensor; export the model with tensors only",
        ),
        (_sparse(), "is a sparse tensor, expected a tensor; export the model with tensors only"),
        (onnx.ValueInfoProto(name="y"), "declares no type; run onnx.shape_inference over the model"),
    ],
)
def test_what_is_no_tensor_is_refused_with_advice(output: onnx.ValueInfoProto, problem: str) -> None:
    """A sequence of maps that no ZipMap gives to the graph itself is one of them."""
    graph = _read(_identity(tensor_info("x", FLOAT, ["N"]), output))
    with pytest.raises(LoadFailed) as caught:
        graph.signature()
    assert caught.value.message == f"{SUBJECT}: output 'y' {problem}"


def _with_listed_weight(ir_version: int) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [tensor_info("w", FLOAT, [4, 3]), tensor_info("x", FLOAT, ["N", 4])],
        [tensor_info("y", FLOAT, ["N", 3])],
        [weights(3)],
    )
    return model_of(graph, ir_version=ir_version)


def test_inputs_with_a_default_are_optional() -> None:
    """An initializer of the same name is the default; the order stays the graph's."""
    inputs, _ = _read(_with_listed_weight(8)).signature()
    assert [(spec.name, spec.optional) for spec in inputs] == [("w", True), ("x", False)]


def test_weights_of_old_files_are_no_inputs() -> None:
    """Before IR version 4 every weight is listed as an input, and onnxruntime takes no value for it."""
    inputs, _ = _read(_with_listed_weight(3)).signature()
    assert [spec.name for spec in inputs] == ["x"]


def test_a_producer_whose_name_is_not_utf8_is_no_matter() -> None:
    """Nor anything else that says who made the file: nobody reads it."""
    graph = _read(linear().replace(b"test", b"\xff\xff\xff\xff"))
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.external_data_locations == ()


def _add_to_subgraph(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    branch = model.graph.node[0].attribute.add(name="then_branch").g
    branch.node.add(op_type="If").attribute.add(name="else_branch").g.initializer.append(tensor)


def _constant(node: onnx.NodeProto, tensor: onnx.TensorProto) -> None:
    node.attribute.add(name="value").t.CopyFrom(tensor)


# Each puts a tensor into one place of a model.
_PLACES: dict[str, Callable[[onnx.ModelProto, onnx.TensorProto], None]] = {
    "initializer": lambda model, tensor: model.graph.initializer.append(tensor),
    "constant": lambda model, tensor: _constant(model.graph.node[0], tensor),
    "tensors": lambda model, tensor: model.graph.node[0].attribute.add().tensors.append(tensor),
    "subgraph": _add_to_subgraph,
    "subgraphs": lambda model, tensor: model.graph.node[0].attribute.add().graphs.add().initializer.append(tensor),
    "sparse initializer": lambda model, tensor: model.graph.sparse_initializer.add().values.CopyFrom(tensor),
    "sparse indices": lambda model, tensor: model.graph.sparse_initializer.add().indices.CopyFrom(tensor),
    "sparse attribute": lambda model, tensor: model.graph.node[0].attribute.add().sparse_tensor.values.CopyFrom(tensor),
    "sparse attributes": lambda model, tensor: (
        model.graph.node[0].attribute.add().sparse_tensors.add().values.CopyFrom(tensor)
    ),
    "function": lambda model, tensor: _constant(model.functions.add(name="f").node.add(), tensor),
    "function default": lambda model, tensor: model.functions.add().attribute_proto.add().t.CopyFrom(tensor),
}


@pytest.mark.parametrize("where", _PLACES)
def test_outside_files_are_found_wherever_they_are_named(where: str) -> None:
    """A single missed place would let a model read any file."""
    model = onnx.ModelProto.FromString(linear())
    _PLACES[where](model, external("data.bin"))
    assert _read(model.SerializeToString()).external_data_locations == ("data.bin",)


def test_each_location_is_there_once_and_a_missing_one_is_empty() -> None:
    """Also where one tensor names two."""
    model = onnx.ModelProto.FromString(linear(weight=external("a.bin")))
    model.graph.initializer.extend([external("b.bin"), external("a.bin")])
    model.graph.initializer[1].external_data.add(key="location", value="c.bin")
    model.graph.initializer.add(data_location=TensorProto.EXTERNAL)
    assert _read(model.SerializeToString()).external_data_locations == ("a.bin", "b.bin", "c.bin", "")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x93NUMPY\x01\x00v\x00", "is no ONNX model, or cut off (10 bytes)"),
        (linear()[:100], "is no ONNX model, or cut off (100 bytes)"),
        (b"hello world, hello world", "is no ONNX model, or cut off (24 bytes)"),
        (b"\x08\x08", "is no ONNX model: it has no graph with outputs (2 bytes)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
            "is a pointer of Git LFS, not the model; run 'git lfs pull'",
        ),
    ],
)
def test_other_files_are_refused(data: bytes, problem: str) -> None:
    """Random, cut and foreign files, and pointers that git left in place of a model."""
    with pytest.raises(LoadFailed) as caught:
        _read(data)
    assert caught.value.message == f"{SUBJECT} {problem}"


def test_names_that_are_not_utf8_are_refused() -> None:
    """They could not be named in a request either."""
    data = _identity(tensor_info("\N{LATIN SMALL LETTER E WITH ACUTE}x", FLOAT, ["N"])).replace(
        b"\xc3\xa9", b"\xff\xff"
    )
    with pytest.raises(LoadFailed, match="has a name that is not UTF-8"):
        _read(data)


def test_the_sample_models_agree_with_onnxruntime() -> None:
    """Names, order, rank and fixed sizes, for every model of the sample repository."""
    samples = sorted((Path(__file__).parents[3] / "models").glob("*/1/model.onnx"))
    assert samples
    for sample in samples:
        session = onnxruntime.InferenceSession(sample, providers=["CPUExecutionProvider"])
        inputs, outputs = _read(sample.read_bytes()).signature()
        for ours, theirs in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
            assert [spec.name for spec in ours] == [each.name for each in theirs]
            for spec, each in zip(ours, theirs, strict=True):
                assert list(spec.shape or ()) == [size if isinstance(size, int) else -1 for size in each.shape]


def _content(data: bytes, digest: bytes | None = None) -> HashedContent:
    return HashedContent(digest or hashlib.sha256(data).digest(), data, len(data))


def test_the_same_bytes_are_read_once() -> None:
    """Whatever the model is called; what is remembered equals what is read."""
    graphs, data = GraphCache(), linear()
    first = graphs.read(_content(data), SUBJECT)
    again = graphs.read(_content(data), "version 2 of model 'n'")
    assert first == _read(data)
    assert again.inputs is first.inputs
    assert (first.subject, again.subject) == (SUBJECT, "version 2 of model 'n'")
    assert graphs.read(_content(linear(columns=5)), SUBJECT).outputs != first.outputs


def test_graphs_are_forgotten_in_the_end() -> None:
    """Callers may load ever new ones; 256 are kept."""
    graphs, data = GraphCache(), linear()
    first = graphs.read(_content(data, b"first"), SUBJECT)
    for number in range(255):
        graphs.read(_content(data, b"%d" % number), SUBJECT)
    assert graphs.read(_content(data, b"first"), SUBJECT).inputs is first.inputs
    for number in range(256):
        graphs.read(_content(data, b"%d" % number), SUBJECT)
    assert graphs.read(_content(data, b"first"), SUBJECT).inputs is not first.inputs


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("operator", ["Loop", "Identity"])
def test_a_loop_is_found_at_any_depth(operator: str, depth: int) -> None:
    """What a caller sends may decide how often it goes."""
    node = helper.make_node(operator, ["x"], ["y"])
    for _ in range(depth):
        branch = helper.make_graph([node], "branch", [], [tensor_info("y", FLOAT, None)])
        node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([node], "g", [tensor_info("x", FLOAT, None)], [tensor_info("y", FLOAT, None)])
    assert _read(model_of(graph)).loops is (operator == "Loop")


def test_a_loop_is_found_in_a_function_and_in_a_list_of_graphs() -> None:
    """A node may call the one, and another domain's may have the other."""
    loop = helper.make_node("Loop", ["x"], ["y"])
    x, y = tensor_info("x", FLOAT, None), tensor_info("y", FLOAT, None)
    caller = helper.make_node("Often", ["x"], ["y"], domain="acme")
    graph = helper.make_graph([caller], "g", [x], [y])
    assert not _read(model_of(graph)).loops
    often = helper.make_function("acme", "Often", ["x"], ["y"], [loop], [helper.make_opsetid("", 17)])
    assert _read(model_of(graph, functions=[often])).loops
    branches = [helper.make_graph([loop], "branch", [], [y])]
    one_of = helper.make_node("Switch", ["x"], ["y"], domain="acme", branches=branches)
    assert _read(model_of(helper.make_graph([one_of], "g", [x], [y]))).loops
