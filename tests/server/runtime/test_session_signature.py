"""Signatures of sessions on the real onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from sardonyx_server.runtime import ort_import
from sardonyx_wire.tensors import TensorSpec
from tests.server.runtime import models
from tests.server.runtime.sessions import opened, run


class TestSignature:
    """Inputs, outputs and who runs the graph."""

    def test_what_the_graph_declares_is_reported(self) -> None:
        """Sizes, symbols, datatypes, in graph order."""
        session = opened(models.convolution())
        assert session.inputs == (
            TensorSpec(name="x", datatype="FP32", shape=(-1, 3, 16, 16), dim_names=("n", "", "", "")),
        )
        assert session.outputs[0].shape == (-1, 8, 16, 16)
        assert session.provider == "CPUExecutionProvider"
        assert session.threads == 1

    def test_a_scalar_and_an_undeclared_shape_look_the_same_to_onnxruntime(self) -> None:
        """So both are "of any shape" until the graph's own reader says more."""
        shapes: tuple[list[str | int] | None, ...] = ([], None)
        for shape in shapes:
            assert opened(models.identity(shape=shape)).inputs[0].shape is None

    def test_the_graphs_own_signature_is_taken_over(self) -> None:
        """It knows a scalar from an undeclared shape."""
        scalar = TensorSpec(name="x", datatype="FP32", shape=())
        session = opened(
            models.identity(shape=[]), signature=([scalar], [TensorSpec(name="y", datatype="FP32", shape=())])
        )
        assert session.inputs == (scalar,)

    def test_a_signature_of_another_graph_is_a_bug(self) -> None:
        """Names and order are compared."""
        stranger = TensorSpec(name="z", datatype="FP32", shape=())
        with pytest.raises(ValueError, match="bug: the signature of model 'm' is not that of its graph"):
            opened(models.identity(), signature=([stranger], [stranger]))

    def test_nodes_are_counted_for_each_provider(self) -> None:
        """Where onnxruntime tells; older ones leave it open, and the first provider named stands for all."""
        session = opened(models.convolution())
        tells = hasattr(ort_import.import_onnxruntime().InferenceSession, "get_provider_graph_assignment_info")
        assert session.provider_nodes == ({"CPUExecutionProvider": 2} if tells else {})
        assert session.provider == "CPUExecutionProvider"

    def test_an_optional_input_may_be_left_out(self) -> None:
        """optional(tensor) of ONNX."""
        kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(models.FLOAT, ["n"]))
        node = helper.make_node("OptionalHasElement", ["x"], ["y"])
        session = opened(
            models.model([node], [helper.make_value_info("x", kind)], [models.tensor("y", models.BOOL, [])])
        )
        assert session.inputs[0].optional
        assert not run(session)
        assert run(session, x=np.zeros(3, np.float32))
