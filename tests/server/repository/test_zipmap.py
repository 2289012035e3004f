"""A ZipMap that gives an output is taken out of the file, and nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.graph import Graph, read_graph
from sardonyx_server.repository.onnx_format import walk
from sardonyx_server.repository.zipmap import apply_edits
from sardonyx_wire.protobuf_fields import encode_length
from tests.server.repository.onnx_models import tensor_info
from tests.server.repository.zipmap_models import maps, zipmap, zipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SUBJECT = "version 1 of model 'm'"
FLOAT, STRING = TensorProto.FLOAT, TensorProto.STRING
X = np.array([[0.5, -0.0, np.inf], [1e-42, 3.0, -7.25]], np.float32)


def _read(model: onnx.ModelProto | bytes) -> tuple[Graph, bytes]:
    """What is declared, and the file with the edits."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    graph = read_graph(data, SUBJECT)
    return graph, b"".join(apply_edits(data, graph.edits))


def _run(data: bytes) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return list(onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, {"x": X}))


def _without(model: onnx.ModelProto, keys: dict[str, int]) -> onnx.ModelProto:
    """The same by the onnx package: output -> number of its classes."""
    want = onnx.ModelProto()
    want.CopyFrom(model)
    for node in want.graph.node:
        if node.op_type == "ZipMap" and node.output[0] in keys:
            node.CopyFrom(onnx.NodeProto(input=node.input, output=node.output, op_type="Identity"))
    for value in want.graph.output:
        if value.name in keys:
            value.CopyFrom(tensor_info(value.name, FLOAT, [None, keys[value.name]]))
    return want


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        ([0, 1, 2], ("0", "1", "2")),
        ([-1, 2**62, 7], ("-1", str(2**62), "7")),
        (["rose", "", "N\N{LATIN SMALL LETTER E WITH ACUTE}e"], ("rose", "", "N\N{LATIN SMALL LETTER E WITH ACUTE}e")),
    ],
)
def test_the_scores_are_the_output_and_the_keys_its_labels(
    keys: list[int] | list[str], labels: tuple[str, ...]
) -> None:
    """Bit for bit what the maps hold, under the same name; the operator is told."""
    model = zipped([zipmap("p", "y", keys)], [maps("y", STRING if isinstance(keys[0], str) else TensorProto.INT64)])
    graph, data = _read(model)
    (output,) = graph.signature()[1]
    assert (output.name, output.describe(), output.labels) == ("y", "FP32 [-1,3]", labels)
    assert graph.notes == (
        "output 'y' is a sequence of maps in the file (ZipMap); it is served as the tensor that they are made of",
    )
    onnx.checker.check_model(onnx.ModelProto.FromString(data))
    ((were,), (scores,)) = _run(model.SerializeToString()), _run(data)
    values: NDArray[np.float32] = np.array([[each[key] for key in keys] for each in were], np.float32)
    assert scores.tobytes() == values.tobytes()
    assert {str(key) for each in were for key in each} == set(labels)


_TENSORS = st.builds(
    lambda name, raw: onnx.TensorProto(name=name, raw_data=raw, dims=[len(raw)], data_type=TensorProto.UINT8),
    st.text(max_size=5),
    st.binary(max_size=900),
)


@settings(max_examples=60, deadline=None)
@given(
    tensors=st.lists(_TENSORS, max_size=3),
    counts=st.lists(st.integers(1, 200), min_size=1, max_size=3),
    text=st.text(max_size=300),
    is_zipped_last=st.booleans(),
    data=st.data(),
)
def test_all_else_stays_as_it_is(
    tensors: list[onnx.TensorProto], counts: list[int], text: str, is_zipped_last: bool, data: st.DataObject
) -> None:
    """Whatever the file has before, between and behind them, and however the graph is cut into pieces."""
    keys = {f"y{index}": count for index, count in enumerate(counts)}
    zipmaps = [zipmap("p", name, [f"class {key}" for key in range(count)]) for name, count in keys.items()]
    other = helper.make_node("Identity", ["p"], ["z"], doc_string=text)
    nodes = [other, *zipmaps] if is_zipped_last else [*zipmaps, other]
    outputs = [tensor_info("z", FLOAT, ["N", 3]), *(maps(name, STRING) for name in keys)]
    model = zipped(nodes, data.draw(st.permutations(outputs)), initializers=tensors)
    model.doc_string, model.graph.doc_string = text, text
    model.metadata_props.add(key="k", value=text)
    want = _without(model, keys)
    whole = model.SerializeToString()
    assert onnx.ModelProto.FromString(_read(whole)[1]) == want
    # The graph in two: protobuf joins them.
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    graph = model.graph.SerializeToString()
    fields = [graph[begin:stop] for _, begin, _, stop in walk(graph, 0, len(graph))]
    cut = data.draw(st.integers(0, len(fields)))
    pieces = [b"".join(fields[:cut]), b"".join(fields[cut:])]
    cut_up = b"".join(b"\x3a" + encode_length(len(piece)) + piece for piece in pieces)
    assert onnx.ModelProto.FromString(_read(cut_up + rest.SerializeToString())[1]) == want


def _subgraph(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    branch = helper.make_graph([node], "branch", [], [maps("inner")])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))


def _read_by_another() -> onnx.ModelProto:
    nodes = [zipmap("p", "y"), helper.make_node("SequenceLength", ["y"], ["z"])]
    return zipped(nodes, [maps("y"), tensor_info("z", TensorProto.INT64, [])])


def _read_in_a_branch() -> onnx.ModelProto:
    model = zipped([zipmap("p", "y")], [maps("y")])
    _subgraph(model, helper.make_node("Identity", ["y"], ["inner"]))
    return model


def _in_a_branch() -> onnx.ModelProto:
    model = zipped([], [maps("z")])
    _subgraph(model, zipmap("p", "inner"))
    return model


def _of_another_domain() -> onnx.ModelProto:
    model = zipped([zipmap("p", "y")], [maps("y")])
    model.graph.node[1].domain = "com.acme"
    return model


def _handed_on() -> onnx.ModelProto:
    return zipped([zipmap("p", "y"), helper.make_node("Identity", ["y"], ["z"])], [maps("z")])


@pytest.mark.parametrize("make", [_read_by_another, _read_in_a_branch, _in_a_branch, _of_another_domain, _handed_on])
def test_maps_that_something_else_reads_or_makes_are_left_and_refused(make: Any) -> None:
    """No converter writes such models; they are as they were."""
    graph, data = _read(make())
    assert data == make().SerializeToString()
    assert graph.notes == ()
    with pytest.raises(LoadFailed, match="is a sequence of maps, expected a tensor; export with zipmap=False"):
        graph.signature()


def test_a_zipmap_that_gives_no_output_is_left() -> None:
    """Beside one that does."""
    graph, data = _read(zipped([zipmap("p", "unused"), zipmap("p", "y")], [maps("y")]))
    assert [node.op_type for node in onnx.ModelProto.FromString(data).graph.node] == ["Scaler", "ZipMap", "Identity"]
    assert [output.name for output in graph.signature()[1]] == ["y"]
    assert _run(data)[0].tobytes() == (2 * X).tobytes()


def test_scores_may_be_an_output_an_input_and_of_several_zipmaps() -> None:
    """So that they cannot just be renamed."""
    nodes = [zipmap("p", "y"), zipmap("x", "z", ["a", "b", "c"]), zipmap("p", "again")]
    outputs = [maps("y"), tensor_info("p", FLOAT, ["N", 3]), maps("z", STRING), maps("again")]
    graph, data = _read(zipped(nodes, outputs))
    assert [(each.name, each.labels[:1]) for each in graph.signature()[1]] == [
        ("y", ("0",)),
        ("p", ()),
        ("z", ("a",)),
        ("again", ("0",)),
    ]
    assert [each.tobytes() for each in _run(data)] == [each.tobytes() for each in (2 * X, 2 * X, X, 2 * X)]
    assert len(graph.notes) == 3


@pytest.mark.parametrize(
    ("opsets", "want"),
    [
        ((("ai.onnx.ml", 2),), [("ai.onnx.ml", 2), ("", 13)]),
        ((("ai.onnx.ml", 1), ("", 9)), [("ai.onnx.ml", 1), ("", 9)]),
        ((("", 9), ("ai.onnx.ml", 1)), [("", 9), ("ai.onnx.ml", 1)]),
        ((("ai.onnx", 9), ("ai.onnx.ml", 1)), [("ai.onnx", 9), ("ai.onnx.ml", 1)]),
    ],
)
def test_the_domain_of_identity_is_imported_where_it_is_not(
    opsets: Sequence[tuple[str, int]], want: list[tuple[str, int]]
) -> None:
    """CatBoost imports none but that of its trees."""
    data = _read(zipped([zipmap("p", "y")], [maps("y")], opsets=opsets))[1]
    assert [(each.domain, each.version) for each in onnx.ModelProto.FromString(data).opset_import] == want
    assert _run(data)[0].tobytes() == (2 * X).tobytes()


@pytest.mark.parametrize(("inputs", "outputs"), [(["p"], []), ([], ["y"]), (["p", "x"], ["y"]), (["p"], ["y", "z"])])
def test_a_zipmap_of_another_form_is_left(inputs: list[str], outputs: list[str]) -> None:
    """No converter writes it: it is onnxruntime's to refuse."""
    node = zipmap("p", "y")
    node.ClearField("input")
    node.ClearField("output")
    node.input.extend(inputs)
    node.output.extend(outputs)
    model = zipped([node], [maps("y")])
    graph, data = _read(model)
    assert data == model.SerializeToString()
    assert graph.notes == ()


def test_without_keys_nothing_is_said_of_the_shape() -> None:
    """What skl2onnx writes for a forest with several answers: onnxruntime refuses it as it is."""
    model = zipped([zipmap("p", "y", None)], [maps("y")])
    graph, data = _read(model)
    (output,) = graph.signature()[1]
    assert (output.describe(), output.labels) == ("FP32 of any shape", ())
    assert _run(data)[0].tobytes() == (2 * X).tobytes()


@pytest.mark.parametrize(
    ("keys", "labels"),
    [(b"\x05\x06\x87\x01", ("5", "6", "135")), (b"\x05\x06\x87\xff", None)],
    ids=["whole", "cut off"],
)
def test_packed_keys_are_read_if_they_are_numbers(keys: bytes, labels: tuple[str, ...] | None) -> None:
    """ONNX has them one by one; every reader takes both forms. No package would write the other bytes."""
    attribute = b"\x0a\x12classlabels_int64s\x42" + encode_length(len(keys)) + keys
    node = zipmap("p", "y", None).SerializeToString() + b"\x2a" + encode_length(len(attribute)) + attribute
    model = zipped([], [maps("y")])
    graph = model.graph.SerializeToString() + b"\x0a" + encode_length(len(node)) + node
    model.ClearField("graph")
    data = model.SerializeToString() + b"\x3a" + encode_length(len(graph)) + graph
    if labels:
        assert _read(data)[0].signature()[1][0].labels == labels
    else:
        with pytest.raises(LoadFailed, match="is no ONNX model, or cut off"):
            _read(data)


def test_a_label_need_not_be_utf8() -> None:
    """Nobody asks for it by name."""
    model = zipped([zipmap("p", "y", ["ab", "c", "d"])], [maps("y", STRING)])
    data = model.SerializeToString().replace(b"\x4a\x02ab", b"\x4a\x02\xe9b")
    assert _read(data)[0].signature()[1][0].labels == ("\\xe9b", "c", "d")
