"""CUDA's own libraries, as ctypes opens them, and what they say of errors."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any, Final

from sardonyx_server.errors import Unsupported

__all__ = ["Libraries", "error_text", "load_libraries"]

_RUNTIME_NAMES: Final = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
_DRIVER_NAME: Final = "libcuda.so.1"


class Libraries:
    """CUDA's runtime and driver library, as ctypes opens them.

    Attributes:
        runtime: ``libcudart``.
        driver: ``libcuda``.
    """

    __slots__ = ("driver", "runtime")

    def __init__(self, runtime: Any, driver: Any) -> None:
        self.runtime = runtime
        self.driver = driver


def load_libraries() -> Libraries:
    """Open CUDA's libraries.

    Raises:
        Unsupported: One of them is not there.
    """
    try:
        driver = ctypes.CDLL(_DRIVER_NAME)
    except OSError as error:
        raise Unsupported("this machine has no driver of NVIDIA, so there is no CUDA memory to share") from error
    for name in (*_RUNTIME_NAMES, *_in_packages()):
        try:
            return Libraries(ctypes.CDLL(name), driver)
        except OSError:
            continue
    raise Unsupported("CUDA's runtime library is not installed on this server; install it with 'sardonyx[gpu]'")


def _in_packages() -> list[str]:
    """Where NVIDIA's packages from pip keep the runtime library."""
    found = importlib.util.find_spec("nvidia")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    return [str(path) for folder in folders for path in sorted(Path(folder).glob("*/lib/libcudart.so.*"))]


def error_text(libraries: Libraries, code: int) -> str:
    """CUDA's own words for an error; clears it, or the next call of this thread would report it again."""
    describe = libraries.runtime.cudaGetErrorString
    describe.restype = ctypes.c_char_p
    libraries.runtime.cudaGetLastError()
    text = describe(ctypes.c_int(code))
    return text.decode(errors="replace") if text else f"error {code}"
