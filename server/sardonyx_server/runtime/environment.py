"""What this machine offers: versions, execution providers, GPUs, cores. Chooses nothing and opens no session."""

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
    """One machine, as this process sees it.

    Attributes:
        onnxruntime_version: Such as ``1.32.0``.
        python_version: Of the interpreter.
        available: onnxruntime's names of the providers that are installed, as it lists them.
        usable: Short names of those this server may use, the fastest first.
        gpu_count: NVIDIA GPUs.
        cores: Whole cores this process may use.
    """

    onnxruntime_version: str
    python_version: str
    available: tuple[str, ...]
    usable: tuple[str, ...]
    gpu_count: int
    cores: int


def describe_environment() -> Environment:
    """Look at this machine. Imports onnxruntime where nobody has: about 0.1 s."""
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
    """NVIDIA GPUs this process can use.

    Where onnxruntime can use CUDA the driver is asked: it honours CUDA_VISIBLE_DEVICES. Elsewhere the kernel's list
    says whether there is a GPU that lies idle, without waking it.

    Args:
        available: onnxruntime's names of the providers that are installed.
        ask_driver: -> GPUs, or None where there is no driver; None = this machine's.
        list_folder: Folder -> names in it, () where there is none; None = this machine's.
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
    """GPUs by CUDA's own count; None where its driver cannot be asked. Makes no context on any of them."""
    for name in _CUDA_DRIVERS:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        # Both answer 0 for success; "no device" is an error of cuInit's.
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
        return count.value
    return None
