"""A server that is slower by a known amount: it serves a model with so many layers more. For the gate's self-test.

Each layer is the same product of matrices, so the time of a run is their number times the time of one. The server is
the product as it is, and nothing in it knows that it is slowed.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.cases import SEED, Case
from sardonyx_wire.messages import ModelInferRequest

__all__ = ["LAYERS", "SLOWER_LAYERS", "chain"]

LAYERS: Final = 240
"""About 2 ms on one core: far more than the way of a request through sockets, so that the run decides about the p99."""
SLOWER_LAYERS: Final = LAYERS * 6 // 5
"""A fifth more."""

_NAME: Final = "chain"
_WIDTH: Final = 512
_OPSET: Final = 17
_IR_VERSION: Final = 8
# Nothing that a server finds by measuring at load may differ between two of them.
_CONFIG: Final = """max_batch_size: 1
instance_group [{ count: 1 kind: KIND_CPU }]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""


def chain(layers: int, folder: Path) -> Case:
    """Lay out the repository of a model ``chain`` with so many layers.

    Args:
        layers: At least 1.
        folder: Where it goes; nothing is there yet.
    """
    file = folder / _NAME / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    (folder / _NAME / "config.pbtxt").write_text(_CONFIG)
    # Orthogonal: values keep their size through any number of layers.
    weights, _ = np.linalg.qr(np.random.default_rng(SEED).normal(size=(_WIDTH, _WIDTH)))
    names = ["x", *(f"layer{index}" for index in range(1, layers)), "y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [source, "w"], [name]) for source, name in pairwise(names)],
        _NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", _WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", _WIDTH])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION), str(file)
    )
    row = {"x": np.random.default_rng(SEED).normal(size=(1, _WIDTH)).astype(np.float32)}
    request = ModelInferRequest(model_name=_NAME)
    request.inputs.add(name="x", datatype="FP32", shape=row["x"].shape)
    request.raw_input_contents.append(row["x"].tobytes())
    return Case(name=_NAME, repository=folder, file=file, row=row, request=request.SerializeToString())
