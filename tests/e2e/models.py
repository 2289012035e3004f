"""The models of the end-to-end tests, made with the onnx package: one for each thing a request can meet.

Weights are constants, so that every run of the tests serves the same models. Starts no server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import NodeProto, ValueInfoProto

__all__ = [
    "CLASS_LABELS",
    "ELEMENT_TYPES",
    "ENDLESS",
    "GATE_TABLE",
    "MAX_ROWS",
    "RANK_32",
    "Folder",
    "identity_name",
    "repository",
    "write",
]

# ONNX's number of each datatype.
ELEMENT_TYPES: Final = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL

MAX_ROWS: Final = 8
"""``max_batch_size`` of the models ``affine`` and ``gate``."""

GATE_TABLE: Final = np.array([0.5, -1.25, 3.0], np.float32)
"""What the model ``gate`` looks up; any other index makes it raise."""

CLASS_LABELS: Final = ("lily", "rose", "iris")
"""Label file of the model ``classes``, whose output has five classes."""

ENDLESS: Final = 2**62
"""Trips with which a run of ``gate`` lasts until it is ended from outside."""

RANK_32: Final = (1,) * 29 + (2, 3, 1)

# One runner with one thread, so that a test knows what runs and what waits.
_ONE_RUNNER: Final = """
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""
_AFFINE: Final = f"""
max_batch_size: {MAX_ROWS}
dynamic_batching {{}}
version_policy {{ all {{}} }}
"""
_TIMED: Final = """
dynamic_batching {
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { allow_timeout_override: true }
}
"""
_CLASSES: Final = """
output [ { name: "y" data_type: TYPE_FP32 dims: [5] label_filename: "labels.txt" } ]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A model on disk."""

    name: str
    data: bytes
    config: str = ""
    version: int = 1
    labels: tuple[str, ...] = ()


def identity_name(datatype: str) -> str:
    """Name of the model that gives back [N,3] of this datatype."""
    return f"identity_{datatype.lower()}"


def repository() -> list[Folder]:
    """Every model of the end-to-end tests."""
    return [
        *(
            Folder(name=identity_name(datatype), data=_identity(kind, ["N", 3]), config="max_batch_size: 8")
            for datatype, kind in ELEMENT_TYPES.items()
        ),
        Folder(name="scalar", data=_identity(FLOAT, [])),
        Folder(name="fixed", data=_identity(FLOAT, [4])),
        Folder(name="rank_32", data=_identity(FLOAT, [f"d{axis}" for axis in range(32)])),
        Folder(name="undeclared", data=_identity(FLOAT, None)),
        Folder(name="undeclared_bytes", data=_identity(TensorProto.STRING, None)),
        Folder(name="wide", data=_identity(FLOAT, ["N", "M"]), config="max_batch_size: 8"),
        Folder(name="add_sub", data=_add_sub()),
        Folder(name="affine", data=_affine(), config=_AFFINE),
        Folder(name="affine", data=_affine(), version=3, config=_AFFINE),
        Folder(name="mixes", data=_one_node("Softmax", ["N", 3], axis=0)),
        Folder(
            name="gate",
            data=_gate(),
            config=f"max_batch_size: {MAX_ROWS}\ndynamic_batching {{}}\n{_ONE_RUNNER}",
        ),
        Folder(
            name="timed",
            data=_affine(),
            config=f"max_batch_size: {MAX_ROWS}\n{_TIMED}{_ONE_RUNNER}",
        ),
        Folder(
            name="classes",
            data=_identity(FLOAT, ["N", 5]),
            config=f"max_batch_size: {MAX_ROWS}\n{_CLASSES}",
            labels=CLASS_LABELS,
        ),
        Folder(name="huge", data=_huge(), config=_ONE_RUNNER),
        Folder(
            name="optional",
            data=_optional(),
            config="""
input [ { name: "x" data_type: TYPE_FP32 dims: [2] }, { name: "bias" data_type: TYPE_FP32 dims: [2] optional: true } ]
""",
        ),
    ]


def write(folders: Iterable[Folder], path: Path) -> Path:
    """Write models as a repository in Triton's layout; returns ``path``."""
    for folder in folders:
        version = path / folder.name / str(folder.version)
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(folder.data)
        if folder.config:
            (path / folder.name / "config.pbtxt").write_text(folder.config)
        if folder.labels:
            (path / folder.name / "labels.txt").write_text("".join(f"{label}\n" for label in folder.labels))
    return path


def _info(name: str, kind: int, dims: Sequence[str | int] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def _constant(name: str, value: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(value, name)


def _model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def _one_node(operator: str, dims: Sequence[str | int], **attributes: Any) -> bytes:
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    return _model([node], [_info("x", FLOAT, dims)], [_info("y", FLOAT, dims)])


def _identity(kind: int, dims: Sequence[str | int] | None) -> bytes:
    return _model([helper.make_node("Identity", ["x"], ["y"])], [_info("x", kind, dims)], [_info("y", kind, dims)])


def _add_sub() -> bytes:
    """Gives a + b and a - b of INT32 [N,4]."""
    return _model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [_info("a", INT32, ["N", 4]), _info("b", INT32, ["N", 4])],
        [_info("sum", INT32, ["N", 4]), _info("difference", INT32, ["N", 4])],
    )


def _affine() -> bytes:
    """Gives x * w + b of FP32 [N,4], element by element: the same bits in every batch."""
    return _model(
        [helper.make_node("Mul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
        [_info("x", FLOAT, ["N", 4])],
        [_info("y", FLOAT, ["N", 4])],
        [
            _constant("w", np.array([0.1, -2.0, 3.7, 1e-3], np.float32)),
            _constant("b", np.array([1.0, 0.25, -0.1, 7.0], np.float32)),
        ],
    )


def _gate() -> bytes:
    """Gives x + table[index] (FP32 [N,2], INT64 [N,1]), after a loop of as many trips as the largest of ``trips``.

    So a test says how long a run lasts, which rows make it raise, and sees whether rows touch each other.
    """
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Mul", ["v", "half"], ["v_next"])],
        "body",
        [_info("i", INT64, []), _info("go", BOOL, []), _info("v", FLOAT, [])],
        [_info("go_on", BOOL, []), _info("v_next", FLOAT, [])],
        [_constant("half", np.array(0.5, np.float32))],
    )
    return _model(
        [
            helper.make_node("ReduceMax", ["trips"], ["most"], keepdims=0),
            helper.make_node("Loop", ["most", "true", "nought"], ["looped"], body=body),
            helper.make_node("Gather", ["table", "index"], ["found"]),
            helper.make_node("Add", ["x", "found"], ["sum"]),
            helper.make_node("Add", ["sum", "looped"], ["y"]),
        ],
        [_info("x", FLOAT, ["N", 2]), _info("index", INT64, ["N", 1]), _info("trips", INT64, ["N", 1])],
        [_info("y", FLOAT, ["N", 2])],
        [
            _constant("true", np.array(True)),
            _constant("nought", np.array(0.0, np.float32)),
            _constant("table", GATE_TABLE),
        ],
    )


def _huge() -> bytes:
    """Gives the sum of as many zeros as ``count`` says: more than any address space holds, if asked for."""
    return _model(
        [
            helper.make_node("ConstantOfShape", ["count"], ["zeros"], value=_constant("v", np.zeros(1, np.float64))),
            helper.make_node("ReduceSum", ["zeros"], ["y"], keepdims=1),
        ],
        [_info("count", INT64, [1])],
        [_info("y", TensorProto.DOUBLE, [1])],
    )


def _optional() -> bytes:
    """Gives x + bias, both FP32 [2]; bias is (10, 20) where the caller sends none."""
    return _model(
        [helper.make_node("Add", ["x", "bias"], ["y"])],
        [_info("x", FLOAT, [2]), _info("bias", FLOAT, [2])],
        [_info("y", FLOAT, [2])],
        [_constant("bias", np.array([10, 20], np.float32))],
    )
