"""Visits nodes and tensors of an ONNX model at any depth, including subgraphs and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["all_nodes", "external_data_locations"]

# TensorProto.DataLocation.
_EXTERNAL: Final = 1


def all_nodes(model: Any) -> Iterator[Any]:
    """Every node, including those of subgraphs and functions."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                waiting += graph.node


def external_data_locations(model: Any) -> Iterator[str]:
    """Location of each tensor with external data, in weights, attributes, subgraphs and functions."""
    graphs = [model.graph]
    attributes: list[Any] = []
    for function in model.functions:
        attributes += function.attribute_proto
        attributes += [each for node in function.node for each in node.attribute]
    while graphs or attributes:
        tensors: list[Any] = []
        sparse: list[Any] = []
        if graphs:
            graph = graphs.pop()
            tensors += graph.initializer
            sparse += graph.sparse_initializer
            attributes += [each for node in graph.node for each in node.attribute]
        else:
            attribute = attributes.pop()
            tensors += [attribute.t] if attribute.HasField("t") else []
            tensors += attribute.tensors
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
            sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            sparse += attribute.sparse_tensors
        for each in sparse:
            tensors += [each.values, each.indices]
        for tensor in tensors:
            if tensor.data_location == _EXTERNAL:
                # A missing location counts as an empty one; if there are several, all are checked.
                yield from [entry.value.decode() for entry in tensor.external_data if entry.key == b"location"] or [""]
