"""Small ONNX models for the tests of the runtime, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto, ValueInfoProto

FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
FLOAT16, BFLOAT16 = TensorProto.FLOAT16, TensorProto.BFLOAT16


def tensor(name: str, kind: int, shape: Sequence[str | int] | None = ("n",)) -> ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    *,
    initializers: Sequence[TensorProto] = (),
    opset: int = 20,
    ir_version: int = 10,
    domains: Sequence[str] = (),
) -> bytes:
    """A graph of these nodes."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made: bytes = helper.make_model(graph, opset_imports=imports, ir_version=ir_version).SerializeToString()
    return made


def identity(kind: int = FLOAT, shape: Sequence[str | int] | None = ("n",)) -> bytes:
    """From x to y, the same."""
    return one_node("Identity", kind, kind, shape)


def one_node(
    operator: str, kind: int, result: int, shape: Sequence[str | int] | None = ("n",), **attributes: Any
) -> bytes:
    """From x through the operator to y."""
    node = helper.make_node(operator, ["x"], ["y"], name="a/node", **attributes)
    return model([node], [tensor("x", kind, shape)], [tensor("y", result, shape)])


def matmul() -> bytes:
    """Takes x of any shape and gives y = x @ w; fails at run time where it has not 4 columns."""
    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layers/1/MatMul")
    return model([node], [tensor("x", FLOAT, None)], [tensor("y", FLOAT, None)], initializers=[weights])


def convolution() -> bytes:
    """Takes x [n,3,16,16] and gives y [n,8,16,16]."""
    weights = numpy_helper.from_array(np.linspace(-1, 1, 8 * 3 * 9, dtype=np.float32).reshape(8, 3, 3, 3), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return model(
        nodes, [tensor("x", FLOAT, ["n", 3, 16, 16])], [tensor("y", FLOAT, ["n", 8, 16, 16])], initializers=[weights]
    )


def endless_loop() -> bytes:
    """Adds 1 to x for 2**62 iterations."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["v", "one"], ["v_next"])],
        "body",
        [tensor("i", INT64, []), tensor("go", BOOL, []), tensor("v", FLOAT, [])],
        [tensor("go_on", BOOL, []), tensor("v_next", FLOAT, [])],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )
    return model(
        [helper.make_node("Loop", ["trips", "true", "x"], ["y"], body=body)],
        [tensor("x", FLOAT, [])],
        [tensor("y", FLOAT, [])],
        initializers=[
            numpy_helper.from_array(np.array(2**62, np.int64), "trips"),
            numpy_helper.from_array(np.array(True), "true"),
        ],
    )


def external_data(location: str) -> bytes:
    """Takes x [n,4] and gives y = x @ w, with w in a file of 64 bytes beside the model."""
    weights = TensorProto(name="w", data_type=FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=location)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return model([node], [tensor("x", FLOAT, ["n", 4])], [tensor("y", FLOAT, ["n", 4])], initializers=[weights])
