"""Tensors through the real onnxruntime, on the CPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from sardonyx_server.runtime import ort_import
from sardonyx_server.runtime.run_functions import choose_run_function
from sardonyx_wire.tensors import TensorSpec
from tests.server.runtime import models
from tests.server.runtime.sessions import load_message, opened, run


class TestTensors:
    """Numbers in and out."""

    @pytest.mark.parametrize(
        ("kind", "dtype"),
        [
            (TensorProto.BOOL, "?"),
            (TensorProto.INT8, "i1"),
            (TensorProto.INT16, "i2"),
            (TensorProto.INT32, "i4"),
            (TensorProto.INT64, "i8"),
            (TensorProto.UINT8, "u1"),
            (TensorProto.UINT16, "u2"),
            (TensorProto.UINT32, "u4"),
            (TensorProto.UINT64, "u8"),
            (TensorProto.FLOAT16, "f2"),
            (TensorProto.FLOAT, "f4"),
            (TensorProto.DOUBLE, "f8"),
            (TensorProto.BFLOAT16, "u2"),
        ],
    )
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
    def test_numbers_come_back_bit_for_bit(self, kind: int, dtype: str, shape: tuple[int, ...]) -> None:
        """Every datatype, as scalar, empty and full."""
        session = opened(models.identity(kind, shape=None))
        array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        answer = run(session, x=array)
        assert (answer.dtype, answer.shape, answer.tobytes()) == (array.dtype, array.shape, array.tobytes())

    @pytest.mark.parametrize("kind", [models.FLOAT, models.BFLOAT16])
    def test_read_only_and_unaligned_and_strided_arrays_are_read_right(self, kind: int) -> None:
        """Views into a message are read-only and start anywhere."""
        session = opened(models.identity(kind))
        dtype = np.dtype(np.uint16 if kind == models.BFLOAT16 else np.float32)
        want = np.arange(5, dtype=dtype)
        unaligned = np.frombuffer(b"\0" + want.tobytes(), dtype, offset=1)
        for array in (unaligned, np.repeat(want, 2)[::2]):
            np.testing.assert_array_equal(run(session, x=array), want)

    def test_bf16_is_computed_with(self) -> None:
        """Bits in, numbers out, and back."""
        widened = opened(models.one_node("Cast", models.BFLOAT16, models.FLOAT, to=models.FLOAT))
        np.testing.assert_array_equal(
            run(widened, x=np.array([0x3F80, 0xC000], np.uint16)), np.array([1, -2], np.float32)
        )
        narrowed = opened(models.one_node("Cast", models.FLOAT, models.BFLOAT16, to=models.BFLOAT16))
        np.testing.assert_array_equal(
            run(narrowed, x=np.array([1, -2], np.float32)), np.array([0x3F80, 0xC000], np.uint16)
        )

    def test_bf16_may_go_with_string_outputs(self) -> None:
        """Only string inputs cannot go with it."""
        nodes = [
            helper.make_node("Cast", ["x"], ["f"], to=models.FLOAT),
            helper.make_node("Cast", ["f"], ["y"], to=models.STRING),
        ]
        session = opened(
            models.model(nodes, [models.tensor("x", models.BFLOAT16)], [models.tensor("y", models.STRING)])
        )
        assert run(session, x=np.array([0x3F80], np.uint16)).tolist() == ["1"]

    def test_bf16_with_string_inputs_does_not_load(self) -> None:
        """No way in onnxruntime's Python API; better known at load than at the first request."""
        nodes = [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Identity", ["x"], ["y"])]
        inputs = [models.tensor("x", models.BFLOAT16), models.tensor("s", models.STRING)]
        outputs = [models.tensor("y", models.BFLOAT16), models.tensor("t", models.STRING)]
        assert load_message(models.model(nodes, inputs, outputs)) == (
            "model 'm' takes strings and has BF16 tensors, which onnxruntime's Python API cannot run together; "
            "cast the BF16 inputs and outputs to FP32 inside the model"
        )

    def test_outputs_come_in_the_order_that_was_asked(self) -> None:
        """Any subset, any order."""
        nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Abs", ["x"], ["a"])]
        outputs = [models.tensor("n", models.FLOAT), models.tensor("a", models.FLOAT)]
        session = opened(models.model(nodes, [models.tensor("x", models.FLOAT)], outputs))
        feeds = {"x": np.array([-3], np.float32)}
        assert [array.tolist() for array in session.run(("a", "n"), feeds)] == [[3.0], [3.0]]
        assert [array.tolist() for array in session.run(["a"], feeds)] == [[3.0]]

    @pytest.mark.parametrize(("kind", "dtype"), [(models.FLOAT, "f4"), (models.BFLOAT16, "u2")])
    @pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
    def test_the_bound_way_gives_the_same_as_the_plain_one(self, kind: int, dtype: str, shape: tuple[int, ...]) -> None:
        """What a GPU uses, on the CPU; from two threads."""
        runtime = ort_import.import_onnxruntime()
        native = runtime.InferenceSession(models.identity(kind, None), providers=["CPUExecutionProvider"])
        datatype = "BF16" if kind == models.BFLOAT16 else "FP32"
        specs = [TensorSpec(name=name, datatype=datatype, shape=None) for name in ("x", "y")]
        call = choose_run_function(runtime, native, "m", specs[:1], specs[1:], on_gpu=True)
        array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        answers: list[Any] = []

        def work() -> None:
            answers.extend(call(["y"], {"x": array}, runtime.RunOptions()))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        work()
        work()
        assert len(answers) == 3
        for answer in answers:
            assert (answer.dtype, answer.shape, answer.tobytes()) == (array.dtype, array.shape, array.tobytes())
