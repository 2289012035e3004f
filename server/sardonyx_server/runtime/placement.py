"""Placement of a model: what its config requests, read from the ModelConfig, and the resulting placement."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sardonyx_server.runtime.catalogue import DeviceKind
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = [
    "Accelerator",
    "Instance",
    "InstanceGroup",
    "Placement",
    "PlacementRequest",
    "ProviderOption",
    "read_placement_request",
]

_KINDS: Final[Mapping[int, Literal["auto", "gpu", "cpu", "model"]]] = {0: "auto", 1: "gpu", 2: "cpu", 3: "model"}
_NO_EFFECT: Final = ("rate_limiter", "passive", "profile", "host_policy", "secondary_devices")


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One entry of ``optimization.execution_accelerators``: short provider name, and options in Triton's names."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """One entry of ``instance_group``; ``count`` 0 = not set, ``gpus`` () = all."""

    kind: Literal["auto", "gpu", "cpu", "model"] = "auto"
    count: int = 0
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRequest:
    """What the config of a model requests.

    Attributes:
        name: Of the model, for messages.
        groups: () = one group of kind auto.
        gpu_accelerators: Preferred providers of its instances on a GPU.
        cpu_accelerators: Preferred providers of its instances on the CPU.
        parameters: ``ModelConfig.parameters``, from which Triton reads some provider options.
        inputs: Of the graph, for TensorRT's profiles; () if not known yet.
        max_batch_rows: 0 if the model does not batch.
        cache_folder: Where TensorRT and OpenVINO may cache compiled models; empty = no cache. Set by the operator,
            never by the model.
        content: Identifies its files; used as a folder name.
    """

    name: str
    groups: tuple[InstanceGroup, ...] = ()
    gpu_accelerators: tuple[Accelerator, ...] = ()
    cpu_accelerators: tuple[Accelerator, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=_nothing)
    inputs: tuple[TensorSpec, ...] = ()
    max_batch_rows: int = 0
    cache_folder: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOption:
    """One provider of a session with its options, in onnxruntime's names."""

    name: str
    options: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One session of a model on one device.

    Attributes:
        kind: ``cpu`` or ``gpu``.
        device_id: Of the GPU; 0 on the CPU.
        count: Runners that share the session; 0 = determined by measurement (only on the CPU).
        providers: In order of preference; the last is always the CPU's, for nodes that no other supports.
    """

    kind: DeviceKind
    device_id: int
    count: int
    providers: tuple[ProviderOption, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The placement of a model.

    Attributes:
        instances: At least one.
        reason: One short line for the operator.
        refused: (short name, why) of every supported provider that was requested or is installed, and is not used.
    """

    instances: tuple[Instance, ...]
    reason: str
    refused: tuple[tuple[str, str], ...] = ()


def read_placement_request(
    config: ModelConfig, *, inputs: tuple[TensorSpec, ...] = (), cache_folder: str = "", content: str = ""
) -> tuple[PlacementRequest, tuple[str, ...]]:
    """Read the request from a config; also returns a warning for each field that is set and has no effect."""
    warnings: list[str] = []
    groups = []
    for index, group in enumerate(config.instance_group):
        groups.append(InstanceGroup(kind=_KINDS.get(group.kind, "auto"), count=group.count, gpus=tuple(group.gpus)))
        set_fields = {descriptor.name for descriptor, _ in group.ListFields()}
        warnings.extend(
            f"instance_group[{index}].{name} has no effect here" for name in _NO_EFFECT if name in set_fields
        )
    accelerators = config.optimization.execution_accelerators
    placement = PlacementRequest(
        name=config.name,
        groups=tuple(groups),
        gpu_accelerators=_accelerators(accelerators.gpu_execution_accelerator),
        cpu_accelerators=_accelerators(accelerators.cpu_execution_accelerator),
        parameters=MappingProxyType({key: value.string_value for key, value in config.parameters.items()}),
        inputs=inputs,
        max_batch_rows=config.max_batch_size,
        cache_folder=cache_folder,
        content=content,
    )
    return placement, tuple(warnings)


def _accelerators(entries: Any) -> tuple[Accelerator, ...]:
    return tuple(Accelerator(name=entry.name, parameters=MappingProxyType(dict(entry.parameters))) for entry in entries)
