"""Reads what the graph of an ONNX file declares: inputs, outputs, and references to external data.

Shapes are read here because onnxruntime reports ``[]`` both for a scalar and for an undeclared shape.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.graph_traversal import all_nodes, external_data_locations
from sardonyx_server.repository.onnx_format import MalformedModelError, parse_model
from sardonyx_server.repository.zipmap import remove_zipmaps
from sardonyx_server.text import quoted
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from sardonyx_server.repository.hashed_content import HashedContent
    from sardonyx_server.repository.zipmap import Edit, ZipMapRemoval

__all__ = ["Graph", "GraphCache", "GraphValue", "read_graph"]

# TensorProto.DataType -> datatype of the protocol.
_DATATYPES: Final = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}
_UNSERVED: Final = {
    0: "UNDEFINED",
    14: "COMPLEX64",
    15: "COMPLEX128",
    17: "FLOAT8E4M3FN",
    18: "FLOAT8E4M3FNUZ",
    19: "FLOAT8E5M2",
    20: "FLOAT8E5M2FNUZ",
    21: "UINT4",
    22: "INT4",
    23: "FLOAT4E2M1",
}
# Operators with a data-dependent number of iterations: of ONNX, and text generation of onnxruntime. Scan is bounded by
# the length of its input.
_LOOPS: Final = frozenset({b"Loop", b"BeamSearch", b"GreedySearch", b"Sampling", b"WhisperBeamSearch"})
# Before this version every weight had to be listed as an input, and onnxruntime accepts no value for it.
_FIRST_IR_WITH_DEFAULTS: Final = 4
_LFS_POINTER: Final = b"version https://git-lfs"
# Entries of a few kilobytes each.
_CACHE_SIZE: Final = 256
_KINDS: Final = {
    "tensor_type": "tensor",
    "sequence_type": "sequence",
    "map_type": "map",
    "optional_type": "optional",
    "sparse_tensor_type": "sparse tensor",
    "opaque_type": "opaque value",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphValue:
    """One input or output as declared in the file.

    Attributes:
        name: Name in the graph.
        kind: ``tensor``, ``sequence of maps``, ``map``, ``optional of tensors``, ..., or "" if no type is declared.
        element: TensorProto.DataType of a tensor; otherwise 0.
        shape: As ``TensorSpec.shape``.
        dim_names: As ``TensorSpec.dim_names``.
        optional: Whether the graph has a default for it.
        labels: As ``TensorSpec.labels``.
    """

    name: str
    kind: str
    element: int
    shape: tuple[int, ...] | None
    dim_names: tuple[str, ...]
    optional: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The declarations of an ONNX file.

    Attributes:
        subject: Its name in messages: ``version 1 of model 'iris'``.
        inputs: In the graph's order, without weights that cannot be overridden.
        outputs: In the graph's order. ZipMap outputs are replaced by their tensors.
        external_data_locations: Distinct files that tensors reference.
        loops: Whether it has a loop, so that input values may determine the duration of a run.
        edits: Changes that turn the file into the model declared here; mostly empty.
        notes: Notes for the operator about outputs that differ from the file.
    """

    subject: str
    inputs: tuple[GraphValue, ...]
    outputs: tuple[GraphValue, ...]
    external_data_locations: tuple[str, ...]
    loops: bool
    edits: tuple[Edit, ...]
    notes: tuple[str, ...]

    def signature(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """(inputs, outputs) as specs of the protocol.

        Raises:
            LoadFailed: One of them is not a tensor, or has a datatype that the protocol lacks.
        """
        return (
            tuple(self._spec("input", value) for value in self.inputs),
            tuple(self._spec("output", value) for value in self.outputs),
        )

    def _spec(self, what: str, value: GraphValue) -> TensorSpec:
        subject = f"{self.subject}: {what} {quoted(value.name)}"
        if value.kind != "tensor":
            if not value.kind:
                raise LoadFailed(f"{subject} declares no type; run onnx.shape_inference over the model")
            is_zipped = (what, value.kind) == ("output", "sequence of maps")
            advice = "export with zipmap=False" if is_zipped else "export the model with tensors only"
            article = "an" if value.kind[0] == "o" else "a"
            raise LoadFailed(f"{subject} is {article} {value.kind}, expected a tensor; {advice}")
        if value.element not in _DATATYPES:
            name = _UNSERVED.get(value.element, f"of element type {value.element}")
            raise LoadFailed(f"{subject} is {name}, which the protocol does not have; cast it inside the model")
        return TensorSpec(
            name=value.name,
            datatype=_DATATYPES[value.element],
            shape=value.shape,
            dim_names=value.dim_names,
            optional=value.optional,
            labels=value.labels,
        )


class GraphCache:
    """Reads graphs and caches the most recent ones by the digest of the file. Used by one thread.

    Parsing a graph of some hundred nodes takes 4 ms of Python (2026-11-26), during which other threads wait.
    """

    __slots__ = ("_cache",)

    def __init__(self) -> None:
        self._cache: OrderedDict[bytes, Graph] = OrderedDict()

    def read(self, content: HashedContent, subject: str) -> Graph:
        """See :func:`read_graph`."""
        digest = content.digest
        graph = self._cache.get(digest)
        if graph is None:
            with content.view() as data:
                graph = read_graph(data, subject)
        self._cache[digest] = graph
        self._cache.move_to_end(digest)
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return replace(graph, subject=subject)


def read_graph(data: bytes | memoryview, subject: str) -> Graph:
    """Read the declarations of an ONNX file. Copies only small parts of it.

    Args:
        data: The whole file.
        subject: Its name in messages.

    Raises:
        LoadFailed: It is not an ONNX model, or has no graph or no outputs.
    """
    if data[: len(_LFS_POINTER)] == _LFS_POINTER:
        raise LoadFailed(f"{subject} is a pointer of Git LFS, not the model; run 'git lfs pull'")
    try:
        model = parse_model(data)
        removal = remove_zipmaps(model, data)
    except MalformedModelError as error:
        raise LoadFailed(f"{subject} is no ONNX model, or cut off ({len(data):,} bytes)") from error
    if not model.HasField("graph") or not model.graph.output:
        raise LoadFailed(f"{subject} is no ONNX model: it has no graph with outputs ({len(data):,} bytes)")
    try:
        return _graph(model, removal, subject)
    except UnicodeDecodeError as error:
        raise LoadFailed(f"{subject} has a name that is not UTF-8") from error


def _graph(model: Any, removal: ZipMapRemoval, subject: str) -> Graph:
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    defaults |= {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [_value(each, optional=each.name in defaults) for each in graph.input]
    return Graph(
        subject=subject,
        inputs=tuple(value for value in inputs if not value.optional or model.ir_version >= _FIRST_IR_WITH_DEFAULTS),
        outputs=tuple(_value(each, labels=removal.labels.get(each.name, ())) for each in graph.output),
        external_data_locations=tuple(dict.fromkeys(external_data_locations(model))),
        loops=any(node.op_type in _LOOPS for node in all_nodes(model)),
        edits=removal.edits,
        notes=tuple(
            f"output {quoted(name.decode())} is a sequence of maps in the file (ZipMap); "
            "it is served as the tensor that they are made of"
            for name in removal.labels
        ),
    )


def _value(info: Any, *, optional: bool = False, labels: tuple[str, ...] = ()) -> GraphValue:
    kind = next((text for field, text in _KINDS.items() if info.type.HasField(field)), "")
    if kind in {"sequence", "optional"}:
        holder = info.type.sequence_type if kind == "sequence" else info.type.optional_type
        inner = next((text for field, text in _KINDS.items() if holder.elem_type.HasField(field)), "")
        kind += f" of {inner}s" if inner else ""
    tensor = info.type.tensor_type
    shape: tuple[int, ...] | None = None
    names: tuple[str, ...] = ()
    if kind == "tensor" and tensor.HasField("shape"):
        # Some exporters write a dynamic size as a negative number.
        shape = tuple(max(-1, dim.dim_value) if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
        names = tuple(dim.dim_param.decode() for dim in tensor.shape.dim)
    return GraphValue(
        name=info.name.decode(),
        kind=kind,
        element=tensor.elem_type if kind == "tensor" else 0,
        shape=shape,
        dim_names=names,
        optional=optional,
        labels=labels,
    )
