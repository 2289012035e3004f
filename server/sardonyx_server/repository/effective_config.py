"""Validates a ModelConfig against the graph and completes it with inferred values (Triton calls this auto-complete).

Shapes of the graph include every axis; dims of a ModelConfig omit the batch axis if ``max_batch_size`` > 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.config import DEFAULT_MODEL_FILENAME
from sardonyx_server.repository.shapes import (
    ConfiguredTensor,
    check_batch_axis,
    check_dims,
    configure_tensor,
    graph_dims,
)
from sardonyx_server.text import quoted
from sardonyx_wire.datatypes import BY_CONFIG_NAME, DATATYPES
from sardonyx_wire.messages import DataType, ModelConfig, ModelInstanceGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sardonyx_wire.messages import ModelInput, ModelOutput
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["check_against_graph", "complete_config", "served_inputs", "states_full_shapes", "tensors"]

_PLATFORM: Final = "onnxruntime_onnx"
_BACKEND: Final = "onnxruntime"


def served_inputs(config: ModelConfig, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs that callers see: required inputs of the graph, and inputs with a default that the config names.

    Old exporters list every weight as an input with a default. A caller that set one would set it for a whole batch.
    """
    named = {each.name for each in config.input}
    return tuple(spec for spec in inputs if not spec.optional or spec.name in named)


def tensors(
    config: ModelConfig, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[tuple[ConfiguredTensor, ...], tuple[ConfiguredTensor, ...]]:
    """Inputs and outputs as the graph and as callers see them under a config.

    An input that the config names without ``optional`` is required, even if the graph has a default for it.

    Args:
        config: As in the file.
        inputs: All inputs of the graph, including those that are not served.
        outputs: All outputs of the graph.

    Returns:
        (inputs, outputs), each in the order of the graph. Requires: ``check_against_graph`` passed.
    """
    stated_inputs = {each.name: each for each in config.input}
    stated_outputs = {each.name: each for each in config.output}
    config_inputs = []
    for spec in inputs:
        stated = stated_inputs.get(spec.name)
        tensor = configure_tensor(stated, spec, config.max_batch_size)
        optional = spec.optional and (stated is None or stated.optional)
        config_inputs.append(replace(tensor, caller=replace(tensor.caller, optional=optional)))
    config_outputs = (configure_tensor(stated_outputs.get(spec.name), spec, config.max_batch_size) for spec in outputs)
    return tuple(config_inputs), tuple(config_outputs)


def check_against_graph(
    config: ModelConfig,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    source: str,
) -> None:
    """Reject a config that contradicts the graph; omitted dims and datatypes are not a contradiction.

    Args:
        config: As in the file, with the model's name.
        inputs: All inputs of the graph; optional if the graph has a default.
        outputs: All outputs of the graph.
        source: Name of the config in messages.

    Raises:
        LoadFailed: The first contradiction, showing both sides.
    """
    subject = f"{source} of model {quoted(config.name)}"
    _check_tensors(subject, "input", config.input, inputs, config.max_batch_size)
    _check_tensors(subject, "output", config.output, outputs, config.max_batch_size)
    optional = {spec.name for spec in inputs if spec.optional}
    for each in config.input:
        if each.optional and each.name not in optional:
            raise LoadFailed(
                f"{subject}: input {quoted(each.name)} is optional, but the graph has no default for it; "
                "remove 'optional'"
            )
    if config.max_batch_size > 0:
        for kind, specs in (("input", served_inputs(config, inputs)), ("output", outputs)):
            for spec in specs:
                check_batch_axis(subject, kind, spec, config.max_batch_size)


def complete_config(
    config: ModelConfig,
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    batch_axis: bool,
    default_max_batch: int,
) -> ModelConfig:
    """The effective config: values of the file, completed from the graph, the probe and the server's defaults.

    Args:
        config: As in the file; not modified.
        name: The model's name.
        inputs: As the graph declares them, in its order.
        outputs: Likewise.
        batch_axis: Whether rows can be batched along the first axis (the probe's verdict; False if declined).
        default_max_batch: ``max_batch_size`` if the config has none; used only with ``batch_axis``.

    Returns:
        A new message. Requires: ``check_against_graph`` passed.
    """
    full = ModelConfig()
    full.CopyFrom(config)
    full.name, full.platform, full.backend = name, _PLATFORM, _BACKEND
    if batch_axis and full.max_batch_size == 0:
        full.max_batch_size = default_max_batch
    served = served_inputs(config, inputs)
    stated_inputs = {each.name: each for each in config.input}
    stated_outputs = {each.name: each for each in config.output}
    del full.input[:]
    for spec in served:
        _fill(full.input.add(), stated_inputs, spec, full.max_batch_size)
    del full.output[:]
    for spec in outputs:
        _fill(full.output.add(), stated_outputs, spec, full.max_batch_size)
    if full.max_batch_size > 1 and full.WhichOneof("scheduling_choice") is None:
        full.dynamic_batching.SetInParent()
    if not full.instance_group:
        full.instance_group.add(kind=ModelInstanceGroup.KIND_AUTO)
    for index, group in enumerate(full.instance_group):
        group.name = group.name or f"{name}_{index}"
        group.count = group.count or 1
    if full.version_policy.WhichOneof("policy_choice") is None:
        full.version_policy.latest.num_versions = 1
    elif full.version_policy.HasField("latest"):
        full.version_policy.latest.num_versions = full.version_policy.latest.num_versions or 1
    full.default_model_filename = full.default_model_filename or DEFAULT_MODEL_FILENAME
    return full


def states_full_shapes(config: ModelConfig, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Whether a config without ``max_batch_size`` states dims that include the first axis, which means no batching."""
    if config.max_batch_size:
        return False
    ranks = {spec.name: len(spec.shape) for spec in (*inputs, *outputs) if spec.shape}
    stated = [
        *((each.name, len(graph_dims(each))) for each in config.input),
        *((each.name, len(graph_dims(each))) for each in config.output),
    ]
    return any(rank == ranks.get(name) for name, rank in stated)


def _fill(
    target: ModelInput | ModelOutput,
    stated: Mapping[str, Any],
    spec: TensorSpec,
    max_batch_size: int,
) -> None:
    if spec.name in stated:
        target.MergeFrom(stated[spec.name])
    target.name = spec.name
    target.data_type = DataType.Value(DATATYPES[spec.datatype].config_name)
    if not target.dims and not target.HasField("reshape") and spec.shape is not None:
        target.dims.extend(spec.shape[1:] if max_batch_size > 0 else spec.shape)


def _check_tensors(
    subject: str,
    kind: str,
    stated: Iterable[ModelInput] | Iterable[ModelOutput],
    specs: Sequence[TensorSpec],
    max_batch_size: int,
) -> None:
    known = {spec.name: spec for spec in specs}
    seen: set[str] = set()
    for each in stated:
        spec = known.get(each.name)
        if spec is None:
            names = ", ".join(quoted(name) for name in known) or "none"
            raise LoadFailed(f"{subject}: {kind} {quoted(each.name)} is not in the graph, whose {kind}s are {names}")
        if each.name in seen:
            raise LoadFailed(f"{subject}: {kind} {quoted(each.name)} is listed twice; remove one")
        seen.add(each.name)
        datatype = DataType.Name(each.data_type) if each.data_type in DataType.values() else str(each.data_type)
        expected = DATATYPES[spec.datatype].config_name
        if each.data_type and BY_CONFIG_NAME.get(datatype) is not DATATYPES[spec.datatype]:
            raise LoadFailed(f"{subject}: {kind} {quoted(each.name)} is {datatype}, the graph says {expected}")
        check_dims(f"{subject}: {kind} {quoted(each.name)}", each, spec, max_batch_size)
