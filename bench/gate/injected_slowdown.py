"""Fault injection for the gate's self-test: a model that is slower by a known factor, because it has more layers.

Each layer is the same matrix product, so the time of a run is proportional to their number. The server is the product
itself, and nothing in it knows about the slowdown.
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

__all__ = ["LAYERS", "SLOWER_LAYERS", "chain_case"]

LAYERS: Final = 240
"""About 2 ms on one core: far more than the transport, so that the run determines the p99."""
SLOWER_LAYERS: Final = LAYERS * 6 // 5
"""A fifth more."""

_NAME: Final = "chain"
_WIDTH: Final = 512
_OPSET: Final = 17
_IR_VERSION: Final = 8
# Fixed, because what a server measures at load might differ between two servers.
_CONFIG: Final = """max_batch_size: 1
instance_group [{ count: 1 kind: KIND_CPU }]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""


def chain_case(layers: int, folder: Path) -> Case:
    """Create the repository of a model ``chain`` with a number of layers.

    Args:
        layers: At least 1.
        folder: Where it goes; nothing is there yet.
    """
    file = folder / _NAME / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    (folder / _NAME / "config.pbtxt").write_text(_CONFIG)
    # Orthogonal, so that values keep their magnitude through any number of layers.
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
