"""Functions that run an onnxruntime session: with numpy arrays, with OrtValue (BF16), and with IO binding (GPU).

They validate nothing and translate no errors; ort_session.py does both.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sardonyx_server.errors import LoadFailed
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["RunFunction", "choose_run_function"]

RunFunction: TypeAlias = Callable[[Sequence[str], Mapping[str, NDArray[Any]], Any], list[NDArray[np.generic]]]
"""(output names, feeds, RunOptions) -> one array per output name."""

_ONNX_BFLOAT16: Final = 16


def choose_run_function(
    runtime: Any, native: Any, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, on_gpu: bool
) -> RunFunction:
    """The cheapest function that supports the datatypes of a model.

    Raises:
        LoadFailed: It takes strings and has BF16 tensors, which onnxruntime's Python API cannot run.
    """
    takes_strings = any(spec.datatype == "BYTES" for spec in inputs)
    bfloat16_inputs = frozenset(spec.name for spec in inputs if spec.datatype == "BF16")
    if not bfloat16_inputs and not any(spec.datatype == "BF16" for spec in outputs):
        bind = on_gpu and not takes_strings
        return _bound(runtime, native, bfloat16_inputs) if bind else _plain(native)
    if takes_strings:
        raise LoadFailed(
            f"model {quoted(name)} takes strings and has BF16 tensors, which onnxruntime's Python API cannot run "
            "together; cast the BF16 inputs and outputs to FP32 inside the model"
        )
    return _bound(runtime, native, bfloat16_inputs) if on_gpu else _by_value(runtime, native, bfloat16_inputs)


def _plain(native: Any) -> RunFunction:
    """Numpy arrays in and out, without a copy on the CPU."""
    # The public run() validates the feeds in Python, which ort_session.py has already done: 1.5 us of 5 (2026-11-23).
    raw = getattr(getattr(native, "_sess", None), "run", None)
    call: RunFunction = raw if raw is not None else native.run
    return call


def _by_value(runtime: Any, native: Any, bfloat16_inputs: frozenset[str]) -> RunFunction:
    """OrtValue, which supports BF16, unlike numpy. No copy of the inputs, one of the outputs."""

    def call(output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]], options: Any) -> list[NDArray[np.generic]]:
        values = {name: _value(runtime, array, is_bfloat16=name in bfloat16_inputs) for name, array in feeds.items()}
        return [_array(value) for value in native.run_with_ort_values(list(output_names), values, options)]

    return call


def _bound(runtime: Any, native: Any, bfloat16_inputs: frozenset[str]) -> RunFunction:
    """IO binding: onnxruntime copies inputs and outputs on the CUDA stream of the run, without Python in between.

    Each thread has its own binding, so that runner threads do not share the state of a stream.
    """
    threads = threading.local()

    def call(output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]], options: Any) -> list[NDArray[np.generic]]:
        binding = getattr(threads, "binding", None)
        if binding is None:
            binding = threads.binding = native.io_binding()
        values = {name: _value(runtime, array, is_bfloat16=name in bfloat16_inputs) for name, array in feeds.items()}
        try:
            for name, value in values.items():
                binding.bind_ortvalue_input(name, value)
            for name in output_names:
                binding.bind_output(name, "cpu")
            native.run_with_iobinding(binding, options)
            return [_array(value) for value in binding.get_outputs()]
        finally:
            # Otherwise the tensors of this request would live until the next one.
            binding.clear_binding_inputs()
            binding.clear_binding_outputs()

    return call


def _value(runtime: Any, array: NDArray[Any], *, is_bfloat16: bool) -> Any:
    # Not ascontiguousarray, which turns a scalar into a vector.
    data = np.asarray(array, order="C")
    if is_bfloat16:
        return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(data, _ONNX_BFLOAT16)
    return runtime.OrtValue.ortvalue_from_numpy(data)


def _array(value: Any) -> NDArray[np.generic]:
    if value.data_type() != "tensor(bfloat16)":
        array: NDArray[np.generic] = value.numpy()
        return array
    shape = tuple(value.shape())
    bits = np.empty(shape, np.uint16)
    if bits.nbytes:
        ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bits
