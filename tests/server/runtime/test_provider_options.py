"""Options of the execution providers: defaults, Triton's names, and what a config may not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime.placement import PlacementRequest
from sardonyx_server.runtime.provider_options import provider_options, tensorrt_profiles
from sardonyx_wire.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE = TensorSpec(name="image:0", datatype="FP32", shape=(-1, 3, 8, 8))
SIZE = TensorSpec(name="size", datatype="INT64", shape=(2,))


def options(
    short: str,
    parameters: Mapping[str, str] | None = None,
    *,
    model_parameters: Mapping[str, str] | None = None,
    cache_folder: str = "",
    content: str = "",
    inputs: tuple[TensorSpec, ...] = (),
    max_batch_rows: int = 0,
) -> dict[str, str]:
    """Options of a provider on GPU 1 for model 'm'."""
    model = PlacementRequest(
        name="m",
        parameters=model_parameters or {},
        cache_folder=cache_folder,
        content=content,
        inputs=inputs,
        max_batch_rows=max_batch_rows,
    )
    return provider_options(short, device_id=1, parameters=parameters or {}, model=model)


CUDA_DEFAULTS = {
    "device_id": "1",
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
    "do_copy_in_default_stream": "1",
    "enable_cuda_graph": "0",
}


@pytest.mark.parametrize(
    ("short", "want"),
    [
        ("cpu", {}),
        ("cuda", CUDA_DEFAULTS),
        ("rocm", {"device_id": "1", "arena_extend_strategy": "kSameAsRequested"}),
        ("migraphx", {"device_id": "1"}),
        ("directml", {"device_id": "1"}),
        ("openvino", {"device_type": "CPU"}),
        ("tensorrt", {"device_id": "1", "trt_cuda_graph_enable": "0"}),
        ("dnnl", {}),
    ],
)
def test_defaults(short: str, want: dict[str, str]) -> None:
    """Of a model whose config says nothing."""
    assert options(short) == want


def test_cuda_takes_tritons_numbers_and_onnxruntimes_words() -> None:
    """From the accelerator, and from the model's parameters as older configs have it; the accelerator wins."""
    got = options(
        "cuda",
        {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"},
        model_parameters={
            "cudnn_conv_algo_search": "0",
            "arena_extend_strategy": "0",
            "gpu_mem_limit": "4294967296",
            "someone_elses": "x",
        },
    )
    assert got == CUDA_DEFAULTS | {
        "cudnn_conv_algo_search": "DEFAULT",
        "arena_extend_strategy": "kNextPowerOfTwo",
        "gpu_mem_limit": "4294967296",
        "use_tf32": "0",
    }
    assert options("rocm", {"arena_extend_strategy": "0"})["arena_extend_strategy"] == "kNextPowerOfTwo"


def test_tensorrt_takes_tritons_names() -> None:
    """precision_mode, max_workspace_size_bytes, and onnxruntime's own behind trt_."""
    got = options("tensorrt", {"precision_mode": "FP16", "max_workspace_size_bytes": "1073741824", "trt_dla_core": "1"})
    assert got == {
        "device_id": "1",
        "trt_cuda_graph_enable": "0",
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "1073741824",
        "trt_dla_core": "1",
    }
    assert options("tensorrt", {"precision_mode": "INT8", "int8_use_native_calibration_table": "1"}) == {
        "device_id": "1",
        "trt_cuda_graph_enable": "0",
        "trt_int8_enable": "1",
        "trt_int8_use_native_calibration_table": "1",
    }
    assert options("tensorrt", {"precision_mode": "FP32"}) == options("tensorrt")


def test_a_cache_folder_of_the_operators_is_used() -> None:
    """Engines take minutes to build. Of each content in a folder of its own: the weights are in them, not in names."""
    assert options("tensorrt", cache_folder="/cache", content="c0ffee") == {
        "device_id": "1",
        "trt_cuda_graph_enable": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/cache/c0ffee",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": "/cache",
    }
    off = options("tensorrt", {"trt_engine_cache_enable": "false"}, cache_folder="/cache")
    assert off["trt_engine_cache_enable"] == "0"
    assert options("openvino", {"num_streams": "2"}, cache_folder="/cache", content="c0ffee") == {
        "device_type": "CPU",
        "cache_dir": "/cache/c0ffee",
        "num_streams": "2",
    }


class TestProfiles:
    """TensorRT's shape profiles."""

    def test_the_batch_axis_gets_a_range(self) -> None:
        """One engine for all batch sizes; names may have colons, static inputs need no profile."""
        assert tensorrt_profiles((IMAGE, SIZE), 16) == {
            "trt_profile_min_shapes": "image:0:1x3x8x8",
            "trt_profile_opt_shapes": "image:0:16x3x8x8",
            "trt_profile_max_shapes": "image:0:16x3x8x8",
        }
        assert options("tensorrt", inputs=(IMAGE,), max_batch_rows=4)["trt_profile_max_shapes"] == "image:0:4x3x8x8"

    @pytest.mark.parametrize(
        "spec",
        [
            TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),
            TensorSpec(name="x", datatype="FP32", shape=None),
            TensorSpec(name="a,b", datatype="FP32", shape=(-1, 2)),
        ],
    )
    def test_all_inputs_have_one_or_none(self, spec: TensorSpec) -> None:
        """TensorRT's rule; a range of other axes is not the server's to guess."""
        assert tensorrt_profiles((IMAGE, spec), 16) == {}

    def test_without_a_batch_there_is_none(self) -> None:
        """Nothing is dynamic, or nothing batches."""
        assert tensorrt_profiles((SIZE,), 16) == {}
        assert tensorrt_profiles((IMAGE,), 0) == {}

    def test_a_config_may_write_its_own(self) -> None:
        """For models with other dynamic axes."""
        got = options("tensorrt", {"trt_profile_max_shapes": "x:8x512"}, inputs=(IMAGE,), max_batch_rows=4)
        assert got["trt_profile_max_shapes"] == "x:8x512"


@pytest.mark.parametrize(
    ("short", "key", "value", "message"),
    [
        (
            "cuda",
            "enable_cuda_graph",
            "1",
            (
                "model 'm': option 'enable_cuda_graph' of provider 'cuda' cannot be set: CUDA graphs need fixed "
                "addresses, and "
                "requests bring their own; remove it"
            ),
        ),
        (
            "cuda",
            "device_id",
            "3",
            "model 'm': option 'device_id' of provider 'cuda' cannot be set: say gpus in instance_group; remove it",
        ),
        ("cpu", "speed", "9", "model 'm': option 'speed' of provider 'cpu' is unknown; it takes none"),
        (
            "xnnpack",
            "speed",
            "9",
            "model 'm': option 'speed' of provider 'xnnpack' is unknown; expected one of intra_op_num_threads",
        ),
        ("cuda", "gpu_mem_limit", "-1", "model 'm': gpu_mem_limit: expected a number of bytes, got '-1'"),
        ("cuda", "gpu_mem_limit", "00", "model 'm': gpu_mem_limit: expected a number of bytes, got '00'"),
        (
            "cuda",
            "arena_extend_strategy",
            "2",
            "model 'm': arena_extend_strategy: expected 0 (kNextPowerOfTwo), 1 (kSameAsRequested), got '2'",
        ),
        ("tensorrt", "precision_mode", "FP8", "model 'm': precision_mode: expected FP32, FP16 or INT8, got 'FP8'"),
        (
            "tensorrt",
            "trt_engine_cache_enable",
            "yes",
            "model 'm': trt_engine_cache_enable: expected 1 or 0, got 'yes'",
        ),
        (
            "tensorrt",
            "trt_engine_cache_enable",
            "1",
            (
                "model 'm': trt_engine_cache_enable: this server keeps no cache, since it was started without "
                "--provider-cache-dir; give it that folder, or remove the option"
            ),
        ),
    ],
)
def test_a_wrong_option_is_a_load_error(short: str, key: str, value: str, message: str) -> None:
    """With what is expected and the way out."""
    with pytest.raises(LoadFailed) as caught:
        options(short, {key: value})
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("short", "key"),
    [
        ("tensorrt", "trt_engine_cache_path"),
        ("tensorrt", "trt_engine_cache_prefix"),
        ("tensorrt", "trt_timing_cache_path"),
        ("tensorrt", "trt_extra_plugin_lib_paths"),
        ("tensorrt", "trt_ep_context_file_path"),
        ("tensorrt", "trt_onnx_model_folder_path"),
        ("tensorrt", "int8_calibration_table_name"),
        ("openvino", "cache_dir"),
        ("openvino", "load_config"),
        ("qnn", "backend_path"),
    ],
)
def test_a_config_never_names_a_place_on_disk(short: str, key: str) -> None:
    """Configs come over the wire too: no paths to read, to write, or to load libraries from."""
    with pytest.raises(
        LoadFailed, match="names a place on disk, which only the operator of the server may choose; remove it"
    ):
        options(short, {key: "/etc"})
