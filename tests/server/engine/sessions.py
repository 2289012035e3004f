"""Sessions for tests: onnxruntime with nothing around it, and one made of a function and a clock moved by hand."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from sardonyx_server.errors import ExecutionFailed
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.tensors import TensorSpec
from tests.server.engine.doubles import HandClock

Feeds = Mapping[str, NDArray[Any]]
Arrays = list[NDArray[Any]]

# ONNX's number of each datatype.
ELEMENT_TYPES = {
    "BOOL": onnx.TensorProto.BOOL,
    "INT8": onnx.TensorProto.INT8,
    "INT16": onnx.TensorProto.INT16,
    "INT32": onnx.TensorProto.INT32,
    "INT64": onnx.TensorProto.INT64,
    "UINT8": onnx.TensorProto.UINT8,
    "UINT16": onnx.TensorProto.UINT16,
    "UINT32": onnx.TensorProto.UINT32,
    "UINT64": onnx.TensorProto.UINT64,
    "FP16": onnx.TensorProto.FLOAT16,
    "FP32": onnx.TensorProto.FLOAT,
    "FP64": onnx.TensorProto.DOUBLE,
    "BF16": onnx.TensorProto.BFLOAT16,
    "BYTES": onnx.TensorProto.STRING,
}
DATATYPE_OF: dict[int, str] = {int(number): name for name, number in ELEMENT_TYPES.items()}


class OrtSession:
    """One model on the CPU with one thread. BF16 passes as its bits, through OrtValue."""

    provider = "CPUExecutionProvider"
    threads = 1

    def __init__(self, model: onnx.ModelProto | Path) -> None:
        proto = onnx.load(model) if isinstance(model, Path) else model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        stored = {each.name for each in proto.graph.initializer}
        self.inputs = tuple(_spec(value) for value in proto.graph.input if value.name not in stored)
        self.outputs = tuple(_spec(value) for value in proto.graph.output)
        self.runs = 0

    def run(self, output_names: Sequence[str], feeds: Feeds) -> Arrays:
        """Run it, and count the run."""
        self.runs += 1
        try:
            if any(spec.datatype == "BF16" for spec in (*self.inputs, *self.outputs)):
                return self._run_bf16(output_names, feeds)
            found: Arrays = self._session.run(list(output_names), dict(feeds))
        except Exception as error:
            raise ExecutionFailed(str(error)) from error
        return found

    def _run_bf16(self, output_names: Sequence[str], feeds: Feeds) -> Arrays:
        """For models whose tensors are all BF16, which numpy does not know."""
        given = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(values, ELEMENT_TYPES["BF16"])
            for name, values in feeds.items()
        }
        return [
            np.frombuffer(ctypes.string_at(value.data_ptr(), 2 * math.prod(value.shape())), np.uint16).reshape(
                value.shape()
            )
            for value in self._session.run_with_ort_values(list(output_names), given)
        ]

    def terminate(self, *, for_good: bool = False) -> None:
        """Every run ends by itself."""

    def close(self) -> None:
        """Nothing to free."""


class FunctionSession:
    """A model made of a function; every run takes as long as ``cost_s`` says.

    Args:
        inputs: What it takes.
        outputs: What it gives.
        answer: Feeds -> outputs.
        cost_s: (rows of the first input, number of this run from 0) -> seconds.
    """

    provider = "CPUExecutionProvider"
    threads = 1

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        answer: Callable[[Feeds], Arrays],
        *,
        cost_s: Callable[[int, int], float] = lambda _rows, _run: 0.001,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.clock = HandClock()
        self.batches: list[int] = []
        self._answer = answer
        self._cost_s = cost_s

    def run(self, output_names: Sequence[str], feeds: Feeds) -> Arrays:
        """Answer, and let the clock go on."""
        assert list(output_names) == [spec.name for spec in self.outputs]
        first = next(iter(feeds.values()))
        rows = len(first) if first.ndim else 1
        self.clock.now_s += self._cost_s(rows, len(self.batches))
        self.batches.append(rows)
        return self._answer(feeds)

    def terminate(self, *, for_good: bool = False) -> None:
        """Every run ends by itself."""

    def close(self) -> None:
        """Nothing to free."""


def spec(name: str, datatype: str = "FP32", shape: tuple[int, ...] | None = (-1, 4), **more: Any) -> TensorSpec:
    """A TensorSpec in few words."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, **more)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, Sequence[int | str | None] | None]],
    outputs: Mapping[str, tuple[str, Sequence[int | str | None] | None]],
    initializers: Mapping[str, NDArray[Any]] | None = None,
) -> OrtSession:
    """A session of these nodes. A tensor is (datatype, dims): a dim is a size, a symbol or None."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, ELEMENT_TYPES[kind], dims) for name, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info(name, ELEMENT_TYPES[kind], dims) for name, (kind, dims) in outputs.items()],
        [onnx.numpy_helper.from_array(values, name) for name, values in (initializers or {}).items()],
    )
    return OrtSession(
        helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
            ir_version=9,
        )
    )


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    datatype = DATATYPE_OF[tensor.elem_type]
    assert datatype in DATATYPES
    if not tensor.HasField("shape"):
        return TensorSpec(name=value.name, datatype=datatype, shape=None)
    dims = tensor.shape.dim
    return TensorSpec(
        name=value.name,
        datatype=datatype,
        shape=tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims),
        dim_names=tuple(dim.dim_param for dim in dims),
    )
