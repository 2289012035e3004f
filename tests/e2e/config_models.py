"""Models whose config.pbtxt asks for something that a caller can observe. Starts no server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.models import Folder, repository, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx import GraphProto

__all__ = ["WARM_ROW", "write_configured"]

FLOAT, STRING = TensorProto.FLOAT, TensorProto.STRING

WARM_ROW: Final = np.array([1234.5, -0.25], np.float32)
"""What lies in the warm-up file of ``warm``; no made-up input holds such values."""

_ONE_THREAD: Final = 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }'


def write_configured(path: Path) -> Path:
    """Write the repository."""
    write(
        [
            *_reshaped(),
            *_narrowed(),
            *_scheduled(),
            Folder(name="demanded", data=_sum(), config='input { name: "bias" data_type: TYPE_FP32 dims: [ 2 ] }'),
            Folder(name="warm", data=_identity("x", ["N", 2]), config=_WARM),
            *(folder for folder in repository() if folder.name == "affine"),
        ],
        path,
    )
    samples = path / "warm" / "warmup"
    samples.mkdir()
    (samples / "row").write_bytes(WARM_ROW.tobytes())
    return path


_WARM: Final = """
max_batch_size: 4
model_warmup {
  name: "from a file" count: 3 batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2 ] input_data_file: "row" } }
}
"""


def _reshaped() -> list[Folder]:
    """Graphs that take and give other shapes than callers see."""
    return [
        Folder(
            name="flat_rows",
            data=_identity("x", ["N"]),
            config="""
max_batch_size: 8
dynamic_batching { }
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }
""",
        ),
        Folder(
            name="flat_words",
            data=_identity("x", ["N"], STRING),
            config="""
max_batch_size: 8
input { name: "x" data_type: TYPE_STRING dims: [ 1, 1 ] reshape { shape: [ ] } }
output { name: "y" data_type: TYPE_STRING dims: [ 1 ] reshape { shape: [ ] } }
""",
        ),
        Folder(
            name="scalar_as_vector",
            data=_identity("x", []),
            config="""
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }
output { name: "y" data_type: TYPE_FP32 dims: [ 1, 1 ] reshape { shape: [ ] } }
""",
        ),
        Folder(
            name="open_axes",
            # What the graph does depends on the form it gets: it gives the form, too.
            data=_with_shape(["N", 8, "t", 3]),
            config="""
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 2, 4, -1, 3 ] reshape { shape: [ 8, -1, 3 ] } }
output { name: "y" data_type: TYPE_FP32 dims: [ 8, -1, 1, 3 ] reshape { shape: [ 8, -1, 3 ] } }
""",
        ),
        Folder(
            name="broken_promise",
            data=_identity("x", ["N", "width"]),
            config="""
max_batch_size: 8
output { name: "y" data_type: TYPE_FP32 dims: [ 2, 1 ] reshape { shape: [ 2 ] } }
""",
        ),
    ]


def _narrowed() -> list[Folder]:
    """Graphs that would take more than the config lets pass."""
    return [
        Folder(
            name="narrowed",
            data=_identity("x", ["N", "a", "b"]),
            config="""
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 2, -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 2, -1 ] }
""",
        ),
        Folder(
            name="told_shape",
            data=_identity("x", None),
            config='input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }',
        ),
    ]


def _scheduled() -> list[Folder]:
    """Models that run one request at a time, so that a test sees which one runs when."""
    alone = f"max_batch_size: 1\n{_ONE_THREAD}\n"
    timeout = (
        "default_queue_policy {{ timeout_action: {} default_timeout_microseconds: {} allow_timeout_override: {} }}"
    )

    def levels(text: str) -> str:
        return f"instance_group {{ kind: KIND_CPU count: 1 }}\ndynamic_batching {{ {text} }}"

    return [
        Folder(name=name, data=_identity("x", ["N", 2]), config=alone + config)
        for name, config in (
            ("two_instances", "instance_group { kind: KIND_CPU count: 2 }"),
            (
                "in_order",
                "instance_group { kind: KIND_CPU count: 2 }\ndynamic_batching { preserve_ordering: true }",
            ),
            ("ranked", levels("priority_levels: 3 default_priority_level: 2")),
            (
                "short_levels",
                levels(
                    "priority_levels: 2 default_priority_level: 2 "
                    "priority_queue_policy { key: 2 value { max_queue_size: 2 } }"
                ),
            ),
            ("impatient", levels(timeout.format("REJECT", 0, "true"))),
            (
                "hasty",
                levels(
                    "priority_levels: 2 default_priority_level: 2 "
                    "priority_queue_policy { key: 2 value { default_timeout_microseconds: 1 } }"
                ),
            ),
            ("stubborn", levels(timeout.format("REJECT", 60_000_000, "false"))),
            ("postponing", levels(timeout.format("DELAY", 0, "true"))),
        )
    ] + [
        Folder(
            name="few_requests",
            data=_identity("x", ["N", 2]),
            config="max_batch_size: 2\n" + _ONE_THREAD + levels("default_queue_policy { max_queue_size: 2 }"),
        )
    ]


def _model(graph: GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def _identity(name: str, dims: Sequence[str | int] | None, kind: int = FLOAT) -> bytes:
    """Gives y = x."""
    return _model(
        helper.make_graph(
            [helper.make_node("Identity", [name], ["y"])],
            "graph",
            [helper.make_tensor_value_info(name, kind, dims)],
            [helper.make_tensor_value_info("y", kind, dims)],
        )
    )


def _with_shape(dims: Sequence[str | int]) -> bytes:
    """Gives x plus its last dimension but one, which only the graph's own form tells."""
    return _model(
        helper.make_graph(
            [
                helper.make_node("Shape", ["x"], ["size"], start=2, end=3),
                helper.make_node("Cast", ["size"], ["number"], to=FLOAT),
                helper.make_node("Add", ["x", "number"], ["y"]),
            ],
            "graph",
            [helper.make_tensor_value_info("x", FLOAT, dims)],
            [helper.make_tensor_value_info("y", FLOAT, dims)],
        )
    )


def _sum() -> bytes:
    """Gives x + bias, both FP32 [2]; the graph has a default for bias."""
    return _model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "bias"], ["y"])],
            "graph",
            [helper.make_tensor_value_info(name, FLOAT, [2]) for name in ("x", "bias")],
            [helper.make_tensor_value_info("y", FLOAT, [2])],
            [numpy_helper.from_array(np.array([10, 20], np.float32), "bias")],
        )
    )
