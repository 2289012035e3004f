"""Models that are traps for whoever serves them; made with the onnx package. Starts no server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import TensorProto, helper

from tests.e2e.models import Folder, repository, write

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto

__all__ = ["EXTERNAL_WEIGHTS", "FORMULA", "ODD_INPUT", "ODD_OUTPUT", "write_traps"]

FLOAT, STRING = TensorProto.FLOAT, TensorProto.STRING

ODD_INPUT: Final = "serving_default_input/x:0"
ODD_OUTPUT: Final = "StatefulPartitionedCall:0"
FORMULA: Final = "floor(floor(floor(floor(height/2 - 1/2)/2)/2)/2 - 1/2) + floor(width/32) * 3 + 1"
EXTERNAL_WEIGHTS: Final = np.array([1, 2, 3, 4], np.float32)

_OPSETS: Final = (("", 20), ("ai.onnx.ml", 3))


def write_traps(path: Path) -> Path:
    """Write the repository of the traps: each by the number it has in the design, and two good models."""
    good = [folder for folder in repository() if folder.name in {"affine", "identity_bytes", "scalar", "undeclared"}]
    traps = [
        Folder(name="external", data=_external("weights.bin")),
        Folder(name="external_outside", data=_external("../../weights.bin")),
        Folder(name="sequence", data=_sequence()),
        Folder(name="locale", data=_locale()),
        Folder(name="0123", data=_odd_names()),
    ]
    write([*good, *traps], path)
    (path / "external" / "1" / "weights.bin").write_bytes(EXTERNAL_WEIGHTS.tobytes())
    (path / "weights.bin").write_bytes((EXTERNAL_WEIGHTS * 10).tobytes())
    return path


def _bytes(graph: GraphProto) -> bytes:
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def _external(location: str) -> bytes:
    """Gives x + w, with w in another file."""
    weights = TensorProto(name="w", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=location)
    return _bytes(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            "graph",
            [helper.make_tensor_value_info("x", FLOAT, ["N", 4])],
            [helper.make_tensor_value_info("y", FLOAT, ["N", 4])],
            [weights],
        )
    )


def _sequence() -> bytes:
    """What skl2onnx exports where each row has several answers: a tensor for each."""
    output = helper.make_tensor_sequence_value_info("probabilities", FLOAT, None)
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["probabilities"])
    return _bytes(helper.make_graph([node], "graph", [helper.make_tensor_value_info("x", FLOAT, ["N", 2])], [output]))


def _locale() -> bytes:
    """What a text pipeline has in it: it loads only where the machine has this locale, which none has."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="xx_XX.UTF-8")
    return _bytes(
        helper.make_graph(
            [node],
            "graph",
            [helper.make_tensor_value_info("x", STRING, ["N"])],
            [helper.make_tensor_value_info("y", STRING, ["N"])],
        )
    )


def _odd_names() -> bytes:
    """Names as TensorFlow's exporter makes them, and sizes as formulas."""
    return _bytes(
        helper.make_graph(
            [helper.make_node("Identity", [ODD_INPUT], [ODD_OUTPUT], name="a/b:c")],
            "graph",
            [helper.make_tensor_value_info(ODD_INPUT, FLOAT, ["batch size", FORMULA])],
            [helper.make_tensor_value_info(ODD_OUTPUT, FLOAT, ["batch size", FORMULA])],
        )
    )
