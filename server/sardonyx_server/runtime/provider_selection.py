"""Selects the execution providers of a model: a pure function of what is requested, installed and plugged in.

A provider that is requested and unavailable is an error, never a silent fallback to the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.errors import LoadFailed
from sardonyx_server.runtime.catalogue import AUTO, AUTO_ORDER, CPU, PROVIDERS, unknown_provider
from sardonyx_server.runtime.placement import (
    Instance,
    InstanceGroup,
    Placement,
    PlacementRequest,
    ProviderOption,
)
from sardonyx_server.runtime.provider_options import provider_options
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.runtime.catalogue import DeviceKind, Provider

__all__ = [
    "select_providers",
]


def select_providers(
    requested: Sequence[str], available: Sequence[str], gpu_count: int, model: PlacementRequest
) -> Placement:
    """Select providers and devices for the instances of a model.

    Args:
        requested: The server's list of short names in order of preference, or ``("auto",)``. A list also limits what a
            model's config may name.
        available: onnxruntime's names of the installed providers.
        gpu_count: GPUs of this machine.
        model: The request of the model.

    Raises:
        LoadFailed: A requested provider or device is unavailable; says what to do.
    """
    return _Choice(
        requested=tuple(requested), available=frozenset(available), gpu_count=gpu_count, model=model
    ).placement()


class _Choice:
    """Arguments and intermediate results of one ``select_providers``."""

    def __init__(
        self, *, requested: tuple[str, ...], available: frozenset[str], gpu_count: int, model: PlacementRequest
    ) -> None:
        self.automatic = requested == (AUTO,)
        self.requested = requested
        self.available = available
        self.gpu_count = gpu_count
        self.model = model
        self.refused: dict[str, str] = {}

    def placement(self) -> Placement:
        listed = [] if self.automatic else [self._named(name, "--providers") for name in self.requested]
        instances: list[Instance] = []
        reasons: list[str] = []
        for group in self.model.groups or (InstanceGroup(),):
            kind, why = self._kind(group, listed)
            accelerators = self._accelerators(kind)
            names = ", ".join(provider.short for provider in accelerators)
            reasons.append(f"{kind}_execution_accelerator names {names}" if names else why)
            instances.extend(self._instances(group, kind, self._order(kind, listed, accelerators)))
        self._explain_the_rest(instances)
        return Placement(
            instances=tuple(instances), reason=self._reason(instances, reasons), refused=tuple(self.refused.items())
        )

    def _named(self, name: str, where: str) -> Provider:
        """A provider that was named explicitly; it must be installed."""
        provider = PROVIDERS.get(name)
        if provider is None:
            raise LoadFailed(f"model {quoted(self.model.name)}: {where}: {unknown_provider(name)}")
        if provider.name not in self.available:
            raise LoadFailed(
                f"model {quoted(self.model.name)}: provider '{name}', named by {where}, is not in the installed "
                f"onnxruntime (has: {', '.join(sorted(self.available)) or 'none'}); {provider.install}"
            )
        return provider

    def _accelerators(self, kind: DeviceKind) -> list[Provider]:
        """The providers that the model's config names for one kind of instance."""
        where = f"{kind}_execution_accelerator"
        found = []
        for entry in self.model.gpu_accelerators if kind == "gpu" else self.model.cpu_accelerators:
            provider = self._named(entry.name, where)
            if provider.kind != kind:
                raise LoadFailed(
                    f"model {quoted(self.model.name)}: provider '{entry.name}' is under {where}; "
                    f"move it to {provider.kind}_execution_accelerator"
                )
            if not self.automatic and entry.name not in self.requested:
                raise LoadFailed(
                    f"model {quoted(self.model.name)}: {where} names '{entry.name}', but the server was started with "
                    f"--providers {','.join(self.requested)}; add it there, or remove it from the model's config"
                )
            found.append(provider)
        return found

    def _kind(self, group: InstanceGroup, listed: list[Provider]) -> tuple[DeviceKind, str]:
        """The device kind of a group, and why."""
        if group.kind == "cpu":
            return "cpu", "instance_group asks for KIND_CPU"
        gpu_listed = [provider for provider in listed if provider.kind == "gpu"]
        if group.kind == "gpu" or group.gpus or self.model.gpu_accelerators:
            why = "instance_group asks for KIND_GPU"
            if group.kind != "gpu":
                why = "instance_group names GPUs" if group.gpus else "the model names a gpu_execution_accelerator"
            self._need_gpu(why, listed, gpu_listed)
            return "gpu", why
        if self.automatic:
            best = self._best_gpu()
            return ("gpu", f"{best.short} is the best installed provider") if best else ("cpu", self._why_cpu())
        if listed[0].kind == "gpu":
            self._need_gpu(f"--providers names '{listed[0].short}'", listed, gpu_listed)
        return listed[0].kind, f"--providers names {','.join(self.requested)}"

    def _need_gpu(self, why: str, listed: list[Provider], gpu_listed: list[Provider]) -> None:
        model = quoted(self.model.name)
        if listed and not gpu_listed:
            raise LoadFailed(
                f"model {model}: {why}, but the server was started with --providers {','.join(self.requested)}; "
                "add a GPU provider there, or ask for KIND_CPU"
            )
        uncounted = [provider for provider in gpu_listed if not provider.counts_gpus]
        if self.gpu_count <= 0 and not uncounted:
            raise LoadFailed(
                f"model {model}: {why}, but this machine has no GPU that the server can see; "
                "check the driver with nvidia-smi, or ask for KIND_CPU and --providers cpu"
            )
        if self.automatic and self._best_gpu() is None and not self.model.gpu_accelerators:
            raise LoadFailed(
                f"model {model}: {why}, but the installed onnxruntime has no GPU provider "
                f"(has: {', '.join(sorted(self.available)) or 'none'}); {PROVIDERS['cuda'].install}"
            )

    def _best_gpu(self) -> Provider | None:
        if self.gpu_count <= 0:
            return None
        return next((item for item in AUTO_ORDER if item.kind == "gpu" and item.name in self.available), None)

    def _why_cpu(self) -> str:
        best = next((item for item in AUTO_ORDER if item.kind == "cpu" and item.name in self.available), CPU)
        if self.gpu_count > 0:
            advice = PROVIDERS["cuda"].install
            return f"{best.short}: the installed onnxruntime has no provider for this machine's GPU; {advice}"
        return f"{best.short} is the best installed provider"

    def _order(self, kind: DeviceKind, listed: list[Provider], accelerators: list[Provider]) -> list[Provider]:
        """Providers of one session in order of preference; the CPU's is always last."""
        order = list(accelerators)
        if self.automatic:
            best = self._best_gpu() if kind == "gpu" else None
            if kind == "cpu":
                best = next((item for item in AUTO_ORDER if item.kind == "cpu" and item.name in self.available), None)
            order += [best] if best else []
        for provider in listed:
            if provider.kind == kind and provider is not CPU:
                if kind == "cpu" and CPU in order:
                    self.refused[provider.short] = "it is listed after 'cpu', which takes every node"
                else:
                    order.append(provider)
            elif provider is CPU and kind == "cpu":
                order.append(CPU)
        # TensorRT leaves out nodes that it cannot compile; without CUDA they would run on the CPU, with copies each
        # time.
        cuda = PROVIDERS["cuda"]
        if PROVIDERS["tensorrt"] in order and cuda not in order and cuda.name in self.available:
            order.append(cuda)
        if CPU.name not in self.available:
            raise LoadFailed(
                f"model {quoted(self.model.name)}: {CPU.name} is not in the installed onnxruntime; {CPU.install}"
            )
        return [*dict.fromkeys(provider for provider in order if provider is not CPU), CPU]

    def _instances(self, group: InstanceGroup, kind: DeviceKind, order: list[Provider]) -> list[Instance]:
        model = quoted(self.model.name)
        if group.count < 0:
            raise LoadFailed(f"model {model}: instance_group count is {group.count}; it must be 1 or more, or left out")
        if kind == "cpu":
            return [Instance(kind=kind, device_id=0, count=group.count, providers=self._options(order, 0))]
        devices = group.gpus or tuple(range(max(1, self.gpu_count)))
        for device in devices:
            # DirectML has its own device numbers, which the server does not count.
            if device < 0 or (order[0].counts_gpus and device >= self.gpu_count):
                raise LoadFailed(
                    f"model {model}: instance_group names GPU {device}, but this machine has {self.gpu_count}, "
                    "counted from 0"
                )
        return [
            Instance(kind=kind, device_id=device, count=group.count or 1, providers=self._options(order, device))
            for device in dict.fromkeys(devices)
        ]

    def _options(self, order: list[Provider], device_id: int) -> tuple[ProviderOption, ...]:
        written = {
            entry.name: entry.parameters for entry in (*self.model.gpu_accelerators, *self.model.cpu_accelerators)
        }
        return tuple(
            ProviderOption(
                name=item.name,
                options=provider_options(
                    item.short, device_id=device_id, parameters=written.get(item.short, {}), model=self.model
                ),
            )
            for item in order
        )

    def _explain_the_rest(self, instances: list[Instance]) -> None:
        """Record why each named provider, or each that ``auto`` could have selected, is not used by any instance."""
        used = {option.name for instance in instances for option in instance.providers}
        kinds = {instance.kind for instance in instances}
        in_config = [entry.name for entry in (*self.model.gpu_accelerators, *self.model.cpu_accelerators)]
        if self.automatic:
            candidates = [*in_config, *(item.short for item in PROVIDERS.values() if item.name in self.available)]
        else:
            candidates = [*self.requested, *in_config]
        for name in dict.fromkeys(candidates):
            provider = PROVIDERS.get(name)
            if provider is None:
                raise LoadFailed(f"model {quoted(self.model.name)}: execution_accelerators: {unknown_provider(name)}")
            if provider.name in used or name in self.refused:
                continue
            if self.automatic and provider.not_auto and name not in in_config:
                self.refused[name] = provider.not_auto
            elif provider.counts_gpus and self.gpu_count <= 0:
                self.refused[name] = "this machine has no GPU that the server can see"
            elif provider.kind not in kinds:
                self.refused[name] = f"no instance of the model runs on a {provider.kind.upper()}"
            else:
                self.refused[name] = "another provider of its kind was named"

    def _reason(self, instances: list[Instance], reasons: list[str]) -> str:
        text = "; ".join(dict.fromkeys(reasons))
        if "tensorrt" in self.refused and self.automatic and any(instance.kind == "gpu" for instance in instances):
            text += "; tensorrt is installed too, but its engine builds take minutes: name it with --providers tensorrt"
        return text
