"""Models that end in ZipMap, made with the onnx package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from tests.server.repository.onnx_models import tensor_info

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["maps", "zipmap", "zipped"]

FLOAT = TensorProto.FLOAT


def maps(name: str, key: int = TensorProto.INT64) -> onnx.ValueInfoProto:
    """Declares a sequence of maps to floats."""
    kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, []))
    return helper.make_value_info(name, helper.make_sequence_type_proto(kind))


def zipmap(scores: str, output: str, keys: Sequence[int] | Sequence[str] | None = (0, 1, 2)) -> onnx.NodeProto:
    """A ZipMap; None = without keys."""
    node = helper.make_node("ZipMap", [scores], [output], domain="ai.onnx.ml", name=f"zip {output}")
    if keys is not None:
        kind = "classlabels_strings" if isinstance(keys[0], str) else "classlabels_int64s"
        node.attribute.append(helper.make_attribute(kind, list(keys)))
    return node


def zipped(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    initializers: Sequence[onnx.TensorProto] = (),
    opsets: Sequence[tuple[str, int]] = (("ai.onnx.ml", 1), ("", 17)),
) -> onnx.ModelProto:
    """``p [N,3] = 2 * x [N,3]``, and what is made of it."""
    doubled = helper.make_node("Scaler", ["x"], ["p"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])
    graph = helper.make_graph(
        [doubled, *nodes], "classifier", [tensor_info("x", FLOAT, ["N", 3])], outputs, list(initializers)
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="test")
