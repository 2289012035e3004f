"""CUDA's runtime and driver libraries, loaded with ctypes, and their error messages."""

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
    """CUDA's libraries as ctypes objects.

    Attributes:
        runtime: ``libcudart``.
        driver: ``libcuda``.
    """

    __slots__ = ("driver", "runtime")

    def __init__(self, runtime: Any, driver: Any) -> None:
        self.runtime = runtime
        self.driver = driver


def load_libraries() -> Libraries:
    """Load CUDA's libraries.

    Raises:
        Unsupported: One of them is missing.
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
    """Paths of the runtime library in NVIDIA's pip packages."""
    found = importlib.util.find_spec("nvidia")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    return [str(path) for folder in folders for path in sorted(Path(folder).glob("*/lib/libcudart.so.*"))]


def error_text(libraries: Libraries, code: int) -> str:
    """CUDA's message for an error code. Also clears the thread's last error, which the next call would report again."""
    describe = libraries.runtime.cudaGetErrorString
    describe.restype = ctypes.c_char_p
    libraries.runtime.cudaGetLastError()
    text = describe(ctypes.c_int(code))
    return text.decode(errors="replace") if text else f"error {code}"
