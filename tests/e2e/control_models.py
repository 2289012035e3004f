"""Models whose answers tell which files they were made of, for tests that load and unload. Starts no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WEIGHTS", "external_bytes", "put", "scaling", "scaling_outside", "tree"]

WEIGHTS = "weights.bin"
"""External data of :func:`scaling_outside`."""

_COLUMNS = 4


def scaling(factor: float) -> bytes:
    """Gives x * factor, of FP32 [N,4]."""
    return _scaling(numpy_helper.from_array(np.full(_COLUMNS, factor, np.float32), "factor"))


def scaling_outside() -> bytes:
    """The same, with the factor in :data:`WEIGHTS` beside it."""
    factor = TensorProto(
        name="factor", dims=[_COLUMNS], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    factor.external_data.add(key="location", value=WEIGHTS)
    return _scaling(factor)


def external_bytes(factor: float) -> bytes:
    """What lies in :data:`WEIGHTS`."""
    return np.full(_COLUMNS, factor, np.float32).tobytes()


def put(repository: Path, name: str, version: int, data: bytes, *, config: str = "") -> Path:
    """Write one version, at once: a look at the disk sees all of it or nothing. Returns its folder."""
    folder = repository / name
    folder.mkdir(exist_ok=True)
    if config:
        (folder / "config.pbtxt").write_text(config)
    # Hidden things are no versions.
    unfinished = folder / ".unfinished"
    unfinished.mkdir()
    (unfinished / "model.onnx").write_bytes(data)
    return unfinished.rename(folder / str(version))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: path -> contents, None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def _scaling(factor: TensorProto) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "scaling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", _COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", _COLUMNS])],
        [factor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
