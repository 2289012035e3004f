"""Removes ZipMap operators that produce an output of the graph.

Converters of classifiers append a ZipMap, which turns scores [rows, classes] into a sequence of maps, class -> score. A
tensor protocol cannot carry maps, so the scores are served as a tensor under the output's name, with the keys of the
maps as labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from sardonyx_server.repository.graph_traversal import all_nodes
from sardonyx_server.repository.onnx_format import MESSAGES, Field, MalformedModelError, walk
from sardonyx_wire.protobuf_fields import encode_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Edit", "ZipMapRemoval", "apply_edits", "remove_zipmaps"]

_OPERATOR: Final = (b"ZipMap", b"ai.onnx.ml")
_FLOAT: Final = 1
# Names of the domain that has Identity. CatBoost's files do not import it; any version has the operator.
_ONNX: Final = frozenset({b"", b"ai.onnx"})
_ONNX_OPSET: Final = 13
# Keys of the fields ModelProto.graph, ModelProto.opset_import, GraphProto.node and GraphProto.output.
_GRAPH, _OPSET, _NODE, _OUTPUT = (number << 3 | 2 for number in (7, 8, 1, 12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replaces the bytes from ``start`` to ``stop`` of a file by ``new``."""

    start: int
    stop: int
    new: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipMapRemoval:
    """The result of removing ZipMaps from a model.

    Attributes:
        labels: Name of the output -> keys of its maps, in the order of the columns.
        edits: Changes to the file, in ascending order.
    """

    labels: Mapping[bytes, tuple[str, ...]]
    edits: tuple[Edit, ...]


def remove_zipmaps(model: Any, data: bytes | memoryview) -> ZipMapRemoval:
    """Replace each ZipMap that produces an output by an Identity, unless another node reads its maps.

    Args:
        model: ModelProto of the subset. Modified: its outputs get their new declarations.
        data: The file it was parsed from.

    Raises:
        MalformedModelError: The attributes of a ZipMap are malformed.
    """
    outputs = {value.name: place for place, value in enumerate(model.graph.output)}
    zipmaps = {
        node.output[0]: place
        for place, node in enumerate(model.graph.node)
        if (node.op_type, node.domain) == _OPERATOR and len(node.input) == len(node.output) == 1
        if node.output[0] in outputs
    }
    for name in {name for node in all_nodes(model) for name in node.input} if zipmaps else ():
        zipmaps.pop(name, None)
    if not zipmaps:
        return ZipMapRemoval(labels={}, edits=())
    graphs, nodes, values = _layout(data)
    labels: dict[bytes, tuple[str, ...]] = {}
    edits = []
    for name, place in zipmaps.items():
        labels[name] = _keys(data, nodes[place])
        value = model.graph.output[outputs[name]]
        value.CopyFrom(_declared(name, len(labels[name])))
        identity = MESSAGES["NodeProto"](input=model.graph.node[place].input, output=[name], op_type=b"Identity")
        edits += [_replaced(nodes[place], identity), _replaced(values[outputs[name]], value)]
    edits += [_resized(graph, edits) for graph in graphs]
    if _ONNX.isdisjoint(opset.domain for opset in model.opset_import):
        end = len(data)
        edits.append(_replaced((_OPSET, end, end, end), MESSAGES["OperatorSetIdProto"](version=_ONNX_OPSET)))
    return ZipMapRemoval(labels=labels, edits=tuple(sorted(edits, key=lambda edit: edit.start)))


def apply_edits(data: bytes | memoryview, edits: Sequence[Edit]) -> Iterator[bytes | memoryview]:
    """The edited file in parts. Unchanged parts are views."""
    view, position = memoryview(data), 0
    for edit in edits:
        yield view[position : edit.start]
        yield edit.new
        position = edit.stop
    yield view[position:]


def _layout(data: bytes | memoryview) -> tuple[list[Field], list[Field], list[Field]]:
    """Positions of the graph (possibly several fields, which protobuf merges), of its nodes and of its outputs."""
    graphs: list[Field] = []
    nodes: list[Field] = []
    outputs: list[Field] = []
    for graph in walk(data, 0, len(data)):
        if graph[0] == _GRAPH:
            graphs.append(graph)
            for field in walk(data, *graph[2:]):
                if field[0] == _NODE:
                    nodes.append(field)
                elif field[0] == _OUTPUT:
                    outputs.append(field)
    return graphs, nodes, outputs


def _keys(data: bytes | memoryview, node: Field) -> tuple[str, ...]:
    """Keys of a ZipMap's maps as text, by column; () if it has none, as in multi-output forests."""
    _, _, start, stop = node
    try:
        attributes = MESSAGES["ZipMapProto"].FromString(bytes(data[start:stop])).attribute
    except DecodeError as error:
        raise MalformedModelError(str(error)) from error
    for attribute in attributes:
        if attribute.name == b"classlabels_strings" and attribute.strings:
            # Labels are only displayed, so they need not be valid UTF-8.
            return tuple(key.decode(errors="backslashreplace") for key in attribute.strings)
        if attribute.name == b"classlabels_int64s" and attribute.ints:
            return tuple(map(str, attribute.ints))
    return ()


def _declared(name: bytes, columns: int) -> Any:
    """The declaration of an FP32 output [dynamic, columns]; without a shape if the number of columns is unknown."""
    value = MESSAGES["ValueInfoProto"](name=name)
    value.type.tensor_type.elem_type = _FLOAT
    if columns:
        value.type.tensor_type.shape.dim.add()
        value.type.tensor_type.shape.dim.add(dim_value=columns)
    return value


def _replaced(field: Field, message: Any) -> Edit:
    """Replaces the message in a field."""
    key, begin, _, stop = field
    contents = message.SerializeToString()
    return Edit(start=begin, stop=stop, new=encode_length(key) + encode_length(len(contents)) + contents)


def _resized(field: Field, edits: Iterable[Edit]) -> Edit:
    """Updates the length of a field for the edits inside it."""
    key, begin, start, stop = field
    grown = sum(len(edit.new) - (edit.stop - edit.start) for edit in edits if start <= edit.start < stop)
    return Edit(start=begin, stop=start, new=encode_length(key) + encode_length(stop - start + grown))
