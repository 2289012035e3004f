"""Describes this machine: versions, installed execution providers, GPUs and cores."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sardonyx_server.runtime import ort_import
from sardonyx_server.runtime.catalogue import PROVIDERS
from sardonyx_server.runtime.cores import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Environment", "count_gpus", "describe_environment"]

_NVIDIA: Final = "/proc/driver/nvidia/gpus"
_CUDA_DRIVERS: Final = ("libcuda.so.1", "nvcuda.dll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine as this process sees it.

    Attributes:
        onnxruntime_version: Such as ``1.32.0``.
        python_version: Of the interpreter.
        available: onnxruntime's names of the installed providers, in its order.
        usable: Short names of those that this server supports, the fastest first.
        gpu_count: NVIDIA GPUs.
        cores: Cores available to this process.
    """

    onnxruntime_version: str
    python_version: str
    available: tuple[str, ...]
    usable: tuple[str, ...]
    gpu_count: int
    cores: int


def describe_environment() -> Environment:
    """Describe this machine. Imports onnxruntime if necessary, which takes about 0.1 s."""
    runtime = ort_import.import_onnxruntime()
    available = tuple(runtime.get_available_providers())
    return Environment(
        onnxruntime_version=runtime.__version__,
        python_version=platform.python_version(),
        available=available,
        usable=tuple(provider.short for provider in PROVIDERS.values() if provider.name in available),
        gpu_count=count_gpus(available),
        cores=available_cores(),
    )


def count_gpus(
    available: Sequence[str],
    *,
    ask_driver: Callable[[], int | None] | None = None,
    list_folder: Callable[[str], Sequence[str]] | None = None,
) -> int:
    """Number of NVIDIA GPUs that this process can use.

    If onnxruntime supports CUDA, the driver is queried, which honours CUDA_VISIBLE_DEVICES. Otherwise the kernel's list
    shows whether there is an unused GPU, without waking it up.

    Args:
        available: onnxruntime's names of the installed providers.
        ask_driver: Returns the number of GPUs, or None without a driver; None = of this machine.
        list_folder: Folder -> names in it, () if there is none; None = of this machine.
    """
    if {PROVIDERS["cuda"].name, PROVIDERS["tensorrt"].name}.intersection(available):
        count = (ask_driver or _ask_driver)()
        if count is not None:
            return count
    return len((list_folder or _list_folder)(_NVIDIA))


def _list_folder(folder: str) -> Sequence[str]:
    try:
        return tuple(entry.name for entry in Path(folder).iterdir())
    except OSError:
        return ()


def _ask_driver() -> int | None:
    """Number of GPUs according to the CUDA driver; None without a driver. Creates no CUDA context."""
    for name in _CUDA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        # Both return 0 on success; without a device cuInit fails.
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
        return count.value
    return None
