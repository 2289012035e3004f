"""The execution providers that this server supports, by their short names."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from sardonyx_server.errors import SettingsError
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "AUTO",
    "AUTO_ORDER",
    "CPU",
    "PROVIDERS",
    "DeviceKind",
    "Provider",
    "check_requested",
    "short_name",
    "unknown_provider",
]

DeviceKind = Literal["cpu", "gpu"]

AUTO: Final = "auto"
"""Selects the best available provider instead of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One execution provider.

    Attributes:
        short: Short name used by operators: ``cuda``.
        name: onnxruntime's name: ``CUDAExecutionProvider``.
        kind: Kind of an instance on it: ``gpu`` for KIND_GPU, ``cpu`` for KIND_CPU.
        counts_gpus: Whether its devices are those counted by ``count_gpus``.
        install: How to install it if it is missing.
        not_auto: Why ``auto`` never selects it; empty if it may.
    """

    short: str
    name: str
    kind: DeviceKind
    counts_gpus: bool = False
    install: str
    not_auto: str = ""


_OWN_BUILD = "install a build of onnxruntime that has it"
_NAMED_ONLY = "it is taken only when it is named"

# AzureExecutionProvider is in every standard wheel and omitted on purpose: it sends data to the network.
_TABLE = (
    Provider(
        short="tensorrt",
        name="TensorrtExecutionProvider",
        kind="gpu",
        counts_gpus=True,
        install="install it with: pip install 'sardonyx[gpu]', and TensorRT's libraries with: pip install tensorrt",
        not_auto="its engine builds take minutes, so it is taken only when it is named",
    ),
    Provider(
        short="cuda",
        name="CUDAExecutionProvider",
        kind="gpu",
        counts_gpus=True,
        install="install it with: pip install 'sardonyx[gpu]'",
    ),
    Provider(
        short="rocm",
        name="ROCMExecutionProvider",
        kind="gpu",
        counts_gpus=True,
        install="install it with: pip install onnxruntime-rocm, in place of onnxruntime",
        not_auto=_NAMED_ONLY,
    ),
    Provider(
        short="migraphx",
        name="MIGraphXExecutionProvider",
        kind="gpu",
        counts_gpus=True,
        install="install it with: pip install onnxruntime-migraphx, in place of onnxruntime",
        not_auto="it compiles each graph for minutes, so it is taken only when it is named",
    ),
    Provider(
        short="directml",
        name="DmlExecutionProvider",
        kind="gpu",
        install="install it on Windows with: pip install onnxruntime-directml, in place of onnxruntime",
        not_auto=_NAMED_ONLY,
    ),
    Provider(
        short="openvino",
        name="OpenVINOExecutionProvider",
        kind="cpu",
        install="install it with: pip install onnxruntime-openvino, in place of onnxruntime",
    ),
    Provider(
        short="coreml", name="CoreMLExecutionProvider", kind="cpu", install="it needs macOS", not_auto=_NAMED_ONLY
    ),
    Provider(
        short="qnn",
        name="QNNExecutionProvider",
        kind="cpu",
        install="install it with: pip install onnxruntime-qnn, in place of onnxruntime",
        not_auto=_NAMED_ONLY,
    ),
    Provider(short="dnnl", name="DnnlExecutionProvider", kind="cpu", install=_OWN_BUILD, not_auto=_NAMED_ONLY),
    Provider(short="xnnpack", name="XnnpackExecutionProvider", kind="cpu", install=_OWN_BUILD, not_auto=_NAMED_ONLY),
    Provider(short="cann", name="CANNExecutionProvider", kind="cpu", install=_OWN_BUILD, not_auto=_NAMED_ONLY),
    Provider(short="vitisai", name="VitisAIExecutionProvider", kind="cpu", install=_OWN_BUILD, not_auto=_NAMED_ONLY),
    Provider(
        short="cpu", name="CPUExecutionProvider", kind="cpu", install="install it with: pip install 'sardonyx[server]'"
    ),
)

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({provider.short: provider for provider in _TABLE})
"""Short name -> provider, the fastest first."""

AUTO_ORDER: Final = tuple(provider for provider in _TABLE if not provider.not_auto)
"""Providers that ``auto`` may select, best first: cuda, openvino, cpu."""

CPU: Final = PROVIDERS["cpu"]


def short_name(name: str) -> str:
    """``CUDAExecutionProvider`` -> ``cuda``; for an unsupported provider, its name without the suffix."""
    for provider in _TABLE:
        if provider.name == name:
            return provider.short
    return name.removesuffix("ExecutionProvider")


def check_requested(requested: Sequence[str]) -> tuple[str, ...]:
    """Validate the server's list of providers, regardless of what is installed.

    Raises:
        SettingsError: An unknown or repeated name, an empty list, or ``auto`` together with others.
    """
    for name in requested:
        if name != AUTO and name not in PROVIDERS:
            raise SettingsError(f"providers: {unknown_provider(name)}")
    if not requested:
        raise SettingsError(f"providers: the list is empty; name at least one of {AUTO}, {', '.join(PROVIDERS)}")
    if len(set(requested)) != len(requested):
        raise SettingsError(f"providers: a name is repeated in {','.join(requested)}; name each once")
    if AUTO in requested and len(requested) > 1:
        raise SettingsError(f"providers: '{AUTO}' stands alone, got {','.join(requested)}; leave it out, or the others")
    return tuple(requested)


def unknown_provider(name: str) -> str:
    """The message for an unknown provider name."""
    if name.lower() == "azure":
        return "provider 'azure' is never used: it sends data to the network"
    return f"unknown provider {quoted(name)}; expected {AUTO}, or a list of {', '.join(PROVIDERS)}"
