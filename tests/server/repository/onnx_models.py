"""Small ONNX models and repositories for the tests of this folder, made with the onnx package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["external", "linear", "model_of", "put_model", "tensor_info", "weights"]


def tensor_info(name: str, element: int, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    """An input or output; None as a shape declares none, None as a size declares nothing about it."""
    return helper.make_tensor_value_info(name, element, shape)


def model_of(graph: onnx.GraphProto, *, ir_version: int = 8, **more: Any) -> bytes:
    """A file with that graph."""
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version, producer_name="test", **more
    )
    return bytes(model.SerializeToString())


def weights(columns: int) -> onnx.TensorProto:
    """Initializer ``w [4,columns]``, the same every time."""
    return numpy_helper.from_array(np.random.default_rng(7).random((4, columns), dtype=np.float32), "w")


def linear(*, columns: int = 3, weight: onnx.TensorProto | None = None) -> bytes:
    """``y [N,columns] = x [N,4] @ w``."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [tensor_info("x", TensorProto.FLOAT, ["N", 4])],
        [tensor_info("y", TensorProto.FLOAT, ["N", columns])],
        [weights(columns) if weight is None else weight],
    )
    return model_of(graph)


def external(location: str) -> onnx.TensorProto:
    """Initializer ``w [4,3]`` whose data lie in another file."""
    tensor = TensorProto(name="w", dims=[4, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def put_model(repository: Path, name: str, version: str = "1", *, data: bytes | None = None, config: str = "") -> Path:
    """Write ``<name>/<version>/model.onnx`` and, where ``config`` is not empty, config.pbtxt; returns the model."""
    folder = repository / name / version
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "model.onnx"
    file.write_bytes(linear() if data is None else data)
    if config:
        (repository / name / "config.pbtxt").write_text(config)
    return file
