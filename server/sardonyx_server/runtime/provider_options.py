"""Options of each execution provider: the server's defaults, overridden by the model's config in Triton's names.

Options that name a file or a library are rejected: a config may be uploaded by a caller, and only the operator decides
where the server reads and writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sardonyx_server.runtime.placement import PlacementRequest
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["provider_options", "tensorrt_profiles"]

_TRUE: Final = frozenset({"1", "true"})
_FALSE: Final = frozenset({"0", "false"})

# Triton uses numbers for these two (its onnxruntime backend, "Deprecated Parameters"), onnxruntime uses names.
_ARENA_STRATEGIES: Final = {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"}
_CONV_SEARCHES: Final = {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}

# Also read from ModelConfig.parameters, as in Triton.
_CUDA_MODEL_PARAMETERS: Final = (
    "arena_extend_strategy",
    "cudnn_conv_algo_search",
    "do_copy_in_default_stream",
    "gpu_mem_limit",
)

_ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "cuda": frozenset(
        {
            *_CUDA_MODEL_PARAMETERS,
            "cudnn_conv1d_pad_to_nc1d",
            "cudnn_conv_use_max_workspace",
            "enable_skip_layer_norm_strict_mode",
            "fuse_conv_bias",
            "prefer_nhwc",
            "sdpa_kernel",
            "tunable_op_enable",
            "tunable_op_tuning_enable",
            "use_ep_level_unified_stream",
            "use_tf32",
        }
    ),
    "tensorrt": frozenset(
        {
            "int8_use_native_calibration_table",
            "max_workspace_size_bytes",
            "precision_mode",
            "trt_auxiliary_streams",
            "trt_bf16_enable",
            "trt_build_heuristics_enable",
            "trt_builder_optimization_level",
            "trt_context_memory_sharing_enable",
            "trt_detailed_build_log",
            "trt_dla_core",
            "trt_dla_enable",
            "trt_engine_cache_enable",
            "trt_force_sequential_engine_build",
            "trt_layer_norm_fp32_fallback",
            "trt_max_partition_iterations",
            "trt_min_subgraph_size",
            "trt_profile_max_shapes",
            "trt_profile_min_shapes",
            "trt_profile_opt_shapes",
            "trt_sparsity_enable",
            "trt_tactic_sources",
            "trt_timing_cache_enable",
        }
    ),
    "openvino": frozenset(
        {"device_type", "disable_dynamic_shapes", "model_priority", "num_of_threads", "num_streams", "precision"}
    ),
    "rocm": frozenset({"arena_extend_strategy", "do_copy_in_default_stream", "gpu_mem_limit", "tunable_op_enable"}),
    "migraphx": frozenset({"migraphx_fp16_enable", "migraphx_int8_enable"}),
    "coreml": frozenset({"MLComputeUnits", "ModelFormat", "RequireStaticInputShapes"}),
    "qnn": frozenset({"backend_type", "htp_performance_mode"}),
    "xnnpack": frozenset({"intra_op_num_threads"}),
}

_NEVER: Final[Mapping[str, str]] = {
    "device_id": "say gpus in instance_group",
    "enable_cuda_graph": "CUDA graphs need fixed addresses, and requests bring their own",
    "trt_cuda_graph_enable": "CUDA graphs need fixed addresses, and requests bring their own",
}
_PLACE_WORDS: Final = ("path", "prefix", "dir", "library", "file", "calibration_table_name", "load_config", "context")


def provider_options(
    short: str, *, device_id: int, parameters: Mapping[str, str], model: PlacementRequest
) -> dict[str, str]:
    """Options of one provider in onnxruntime's names.

    Args:
        short: Short name of the provider.
        device_id: Of its GPU; ignored on the CPU.
        parameters: Its parameters in ``execution_accelerators``.
        model: Has the config's parameters, batch size, inputs and cache folder.

    Raises:
        LoadFailed: An option is unknown or not allowed, or has an invalid value.
    """
    for key in parameters:
        _check_key(short, key, model.name)
    build = _BUILDERS.get(short)
    return build(device_id, parameters, model) if build else dict(parameters)


def _check_key(short: str, key: str, model_name: str) -> None:
    where = f"model {quoted(model_name)}: option {quoted(key)} of provider '{short}'"
    if key in _NEVER:
        raise LoadFailed(f"{where} cannot be set: {_NEVER[key]}; remove it")
    allowed = _ALLOWED.get(short, frozenset())
    if key in allowed:
        return
    if any(word in key for word in _PLACE_WORDS):
        raise LoadFailed(f"{where} names a place on disk, which only the operator of the server may choose; remove it")
    known = f"expected one of {', '.join(sorted(allowed))}" if allowed else "it takes none"
    raise LoadFailed(f"{where} is unknown; {known}")


def _cuda(device_id: int, parameters: Mapping[str, str], model: PlacementRequest) -> dict[str, str]:
    options = {
        "device_id": str(device_id),
        # Rounding up to powers of two could take up to twice the memory, which other models on the GPU need.
        "arena_extend_strategy": "kSameAsRequested",
        # EXHAUSTIVE, onnxruntime's default, benchmarks again at each new batch size, under traffic.
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "enable_cuda_graph": "0",
    }
    written = {key: model.parameters[key] for key in _CUDA_MODEL_PARAMETERS if key in model.parameters}
    for key, value in {**written, **parameters}.items():
        options[key] = _cuda_value(key, value, model.name)
    return options


def _cuda_value(key: str, value: str, model_name: str) -> str:
    words = {"arena_extend_strategy": _ARENA_STRATEGIES, "cudnn_conv_algo_search": _CONV_SEARCHES}.get(key)
    if words is not None:
        if value in words.values():
            return value
        if value not in words:
            expected = ", ".join(f"{number} ({word})" for number, word in words.items())
            raise LoadFailed(f"model {quoted(model_name)}: {key}: expected {expected}, got {quoted(value)}")
        return words[value]
    if key == "gpu_mem_limit" and not (value.isascii() and value.isdigit() and value.strip("0")):
        raise LoadFailed(f"model {quoted(model_name)}: {key}: expected a number of bytes, got {quoted(value)}")
    return value


def _rocm(device_id: int, parameters: Mapping[str, str], model: PlacementRequest) -> dict[str, str]:
    values = {key: _cuda_value(key, value, model.name) for key, value in parameters.items()}
    return {"device_id": str(device_id), "arena_extend_strategy": "kSameAsRequested", **values}


def _on_device(device_id: int, parameters: Mapping[str, str], _model: PlacementRequest) -> dict[str, str]:
    return {"device_id": str(device_id), **parameters}


def _kept_in(model: PlacementRequest) -> str:
    """The cache folder of a model, created by the provider.

    TensorRT identifies an engine by names in the graph. Without a folder per content, a retrained model with other
    weights was run with the engine of the old one (microsoft/onnxruntime#6455).
    """
    return f"{model.cache_folder}/{model.content}"


def _openvino(_device_id: int, parameters: Mapping[str, str], model: PlacementRequest) -> dict[str, str]:
    cache = {"cache_dir": _kept_in(model)} if model.cache_folder else {}
    return {"device_type": "CPU", **cache, **parameters}


def _tensorrt(device_id: int, parameters: Mapping[str, str], model: PlacementRequest) -> dict[str, str]:
    options = {"device_id": str(device_id), "trt_cuda_graph_enable": "0"}
    if model.cache_folder:
        # Building an engine takes minutes; the cache shortens later starts.
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": _kept_in(model),
            "trt_timing_cache_enable": "1",
            # Layer timings do not depend on the weights, so that a retrained model is built faster.
            "trt_timing_cache_path": model.cache_folder,
        }
    options |= tensorrt_profiles(model.inputs, model.max_batch_rows)
    for key, value in parameters.items():
        options |= _tensorrt_option(key, value, model)
    return options


def _tensorrt_option(key: str, value: str, model: PlacementRequest) -> dict[str, str]:
    where = f"model {quoted(model.name)}: {key}"
    if key == "precision_mode":
        modes = {"FP32": {}, "FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}}
        if value not in modes:
            raise LoadFailed(f"{where}: expected FP32, FP16 or INT8, got {quoted(value)}")
        return modes[value]
    if key in ("trt_engine_cache_enable", "trt_timing_cache_enable"):
        if value.lower() not in _TRUE | _FALSE:
            raise LoadFailed(f"{where}: expected 1 or 0, got {quoted(value)}")
        if value.lower() in _TRUE and not model.cache_folder:
            raise LoadFailed(
                f"{where}: this server keeps no cache, since it was started without --provider-cache-dir; give it that "
                "folder, or remove the option"
            )
        return {key: "1" if value.lower() in _TRUE else "0"}
    renamed = {
        "max_workspace_size_bytes": "trt_max_workspace_size",
        "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
    }
    return {renamed.get(key, key): value}


def tensorrt_profiles(inputs: tuple[TensorSpec, ...], max_batch_rows: int) -> dict[str, str]:
    """Shape profiles for a model whose only dynamic axis is the batch; {} for any other.

    With profiles TensorRT builds one engine for all batch sizes instead of one for each new size under traffic. Either
    all dynamic inputs must have a profile or none, and a name cannot contain a comma (onnxruntime's page on TensorRT,
    "Explicit shape range for dynamic shape input").
    """
    shapes = []
    for spec in inputs:
        if spec.shape is None or -1 in spec.shape[1:] or "," in spec.name:
            return {}
        if spec.shape and spec.shape[0] == -1:
            shapes.append((spec.name, spec.shape[1:]))
    if not shapes or max_batch_rows < 1:
        return {}

    def profile(rows: int) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, (rows, *rest)))}" for name, rest in shapes)

    return {
        "trt_profile_min_shapes": profile(1),
        "trt_profile_opt_shapes": profile(max_batch_rows),
        "trt_profile_max_shapes": profile(max_batch_rows),
    }


_BUILDERS: Final[Mapping[str, Callable[[int, Mapping[str, str], PlacementRequest], dict[str, str]]]] = {
    "cuda": _cuda,
    "tensorrt": _tensorrt,
    "rocm": _rocm,
    "migraphx": _on_device,
    "directml": _on_device,
    "openvino": _openvino,
}
