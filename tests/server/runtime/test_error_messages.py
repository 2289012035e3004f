"""What of onnxruntime's messages is shown. The samples were read off onnxruntime 1.32."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sardonyx_server.runtime.error_messages import load_error_message, run_error_message, sanitize

INSIDE = re.compile(r"onnxruntime_src|/home|/tmp|::|0x[0-9a-f]{4}|\.cc\b|\.h:|\[ONNXRuntimeError\]|\n")

SAMPLES = [
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConstantOfShape node. "
            "Name:'huge' Status "
            "Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::"
            "AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer "
            "of size 4398"
        ),
        "Failed to allocate memory for requested buffer of size 4398",
    ),
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConstantOfShape node. "
            "Name:'huge' Status "
            "Message: /onnxruntime_src/onnxruntime/core/common/safeint.h:17 static void "
            "SafeIntExceptionHandler<onnxruntime::"
            "OnnxRuntimeException>::SafeIntOnOverflow() Integer overflow\n"
        ),
        "Integer overflow",
    ),
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConstantOfShape node. "
            "Name:'huge' Status "
            "Message: /onnxruntime_src/onnxruntime/core/framework/op_kernel.cc:87 virtual OrtValue* "
            "onnxruntime::OpKernelContext::"
            "OutputMLValue(int, const onnxruntime::TensorShape&) [ONNXRuntimeError] : 1 : FAIL : tensor.cc:57 "
            "CalculateTensorStorageSize Tensor shape.Size() must be >= 0\n"
        ),
        "Tensor shape.Size() must be >= 0",
    ),
    (
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running Gather node. "
            "Name:'a/b' Status "
            "Message: indices element out of data bounds, idx=99 must be within the inclusive range [-3,2]"
        ),
        "indices element out of data bounds, idx=99 must be within the inclusive range [-3,2]",
    ),
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'rs' "
            "Status "
            "Message: "
            "/onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 "
            "onnxruntime::ReshapeHelper::ReshapeHelper("
            "const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) input_shape_size == "
            "requested_shape_size was "
            "false. The input tensor cannot be reshaped to the requested shape. Input shape:{3}, requested "
            "shape:{2,2}\n"
        ),
        "The input tensor cannot be reshaped to the requested shape. Input shape:{3}, requested shape:{2,2}",
    ),
    (
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running MatMul node. Name:'mm' Status "
            "Message: "
            "/onnxruntime_src/include/onnxruntime/core/framework/op_kernel_context.h:45 const T* "
            "onnxruntime::OpKernelContext::"
            "Input(int) const [with T = onnxruntime::Tensor] Missing Input: x\n"
        ),
        "Missing Input: x",
    ),
    (
        (
            "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_ortvalue.cc:291 "
            "onnxruntime::python::addOrtValueMethods("
            "pybind11::module&)::<lambda(pybind11::array&, int32_t)> Items size in the incoming array: 1 "
            "specified by onnxtype: 2\n"
        ),
        "Items size in the incoming array: 1 specified by onnxtype: 2",
    ),
    (
        'External data path does not exist: "/srv/models/m/1/weights.bin"',
        'External data path does not exist: "weights.bin"',
    ),
    ("Load model from /srv/models/m/1/model.onnx failed", "Load model from (path) failed"),
    (
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the following "
            "indices\n"
            " index: 1 Got: 5 Expected: 4\n Please fix either the inputs/outputs or the model."
        ),
        "Got invalid dimensions for input: x for the following indices",
    ),
    ("", "the server's log has the runtime's own message"),
    ("something onnxruntime::Kernel<float>(int) at 0x7f8510b5f690", "the server's log has the runtime's own message"),
    ("/a/b.cc:1 signature without an end(", "the server's log has the runtime's own message"),
]


@pytest.mark.parametrize(("message", "want"), SAMPLES)
def test_only_what_concerns_the_caller_remains(message: str, want: str) -> None:
    """No codes, no source files, no signatures, no paths, one line."""
    assert sanitize(message) == want


@given(
    st.lists(
        st.one_of(
            st.sampled_from([message for message, _ in SAMPLES]),
            st.sampled_from(
                ["/home/me/x", "a::b(", "[with ", "was false. ", "\n", "0x7f8510b5f690 ", " const ", "c.cc:1 f "]
            ),
            st.text(max_size=5),
        )
    ).map("".join)
)
def test_nothing_of_the_inside_is_ever_shown(message: str) -> None:
    """Whatever is put together from such pieces."""
    for text in (sanitize(message), run_error_message("m", message), load_error_message("m", message, "1.32.0")):
        assert INSIDE.search(text) is None
        assert text.isprintable()
        assert len(text.encode()) <= 800


def test_the_operator_is_named_and_the_node_is_not() -> None:
    """Names of nodes are the author's; they often are paths of source files."""
    message = "Non-zero status code returned while running Add node. Name:'/home/me/model.py/Add' Status Message: no"
    assert run_error_message("m", message) == "model 'm' failed while it ran: operator Add: no"


def test_a_terminated_run_says_who_ended_it() -> None:
    """Not "terminate flag"."""
    want = "model 'm': the run was ended by the server because it took too long"
    assert run_error_message("m", "Exiting due to terminate flag being set to true.") == want


def test_a_gpu_that_fails_is_not_blamed_on_the_model() -> None:
    """The way out is the driver, not the checker."""
    message = (
        "/x/onnxruntime/core/providers/cuda/cuda_call.cc:129 std::conditional_t<b, void, Status> "
        "onnxruntime::CudaCall(int) "
        "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    )
    assert load_error_message("m", message, "1.32.0") == (
        "model 'm': the GPU's provider failed to start: CUDA failure 35: CUDA driver version is insufficient for CUDA "
        "runtime "
        "version; check the driver with nvidia-smi, and that CUDA's and cuDNN's libraries are those that "
        "onnxruntime-gpu names"
    )


def test_external_data_that_are_cut_short_say_by_how_much() -> None:
    """A copy that was not complete is the usual reason; it is no matter for onnx's checker."""
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : Deserialize tensor w failed.tensorprotoutils.cc:2201 "
        "GetExtDataFromTensorProto External initializer: w offset: 64 size to read: 16384 "
        "given file_length: 100 are out of bounds or can not be read in full."
    )
    assert load_error_message("m", message, "1.32.0") == (
        "model 'm': the external data of tensor 'w' are cut short: 16,448 bytes are needed, the file has 100; "
        "copy the file again"
    )


def test_an_operator_that_lacks_a_type_is_not_called_unknown() -> None:
    """As BF16 on a CPU. The graph is sound, so the checker would find nothing; names of nodes are the author's."""
    message = (
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Gemm(13) node with name "
        "'/home/me/model.py/linear'"
    )
    assert load_error_message("m", message, "1.32.0") == (
        "model 'm': onnxruntime 1.32.0 has operator 'Gemm' of opset 13, but not for the types that the model gives it, "
        "such as BF16 on a CPU; export it in FP32, or serve it where there is a provider that has it"
    )
