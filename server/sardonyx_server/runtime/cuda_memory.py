"""CUDA shared memory: opens memory that other processes share by CUDA IPC handles, and copies it to and from the host.

It calls CUDA's libraries through ctypes, since onnxruntime's Python API has no IPC; they are loaded at first use.
Tensors take the way through host memory: onnxruntime copies inputs to the GPU itself.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Final

import numpy as np

from sardonyx_server.errors import ExecutionFailed, InvalidRequest, Unsupported
from sardonyx_server.runtime.cuda_libraries import error_text, load_libraries

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.runtime.cuda_libraries import Libraries

__all__ = ["HANDLE_BYTES", "CudaMemory", "CudaRuntime"]

_LOG = logging.getLogger("sardonyx.runtime")

# Names and values from CUDA's driver_types.h and from "Device Management" and "Memory Management" of the CUDA Runtime
# API.
HANDLE_BYTES: Final = 64
"""Size of a ``cudaIpcMemHandle_t``."""

_LAZY_ENABLE_PEER_ACCESS: Final = 1
_HOST_TO_DEVICE: Final = 1
_DEVICE_TO_HOST: Final = 2


class _Handle(ctypes.Structure):
    """``cudaIpcMemHandle_t``, which is passed by value."""

    _fields_ = (("reserved", ctypes.c_char * HANDLE_BYTES),)


class CudaRuntime:
    """CUDA on this machine, loaded at first use. Thread-safe.

    Args:
        load: Loads the libraries, or raises Unsupported.
    """

    __slots__ = ("_devices", "_libraries", "_load", "_lock", "_problem")

    def __init__(self, load: Callable[[], Libraries] = load_libraries) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._libraries: Libraries | None = None
        self._devices = 0
        self._problem = ""

    def require(self) -> None:
        """Return if CUDA can be used.

        Raises:
            Unsupported: It cannot; says why.
        """
        with self._lock:
            if self._libraries is None and not self._problem:
                try:
                    self._libraries, self._devices = self._start()
                except Unsupported as error:
                    self._problem = error.message
            if self._problem:
                raise Unsupported(f"CUDA shared memory cannot be used: {self._problem}", reason="NO_CUDA")

    def usable(self) -> bool:
        """Whether :meth:`require` returns."""
        try:
            self.require()
        except Unsupported:
            return False
        return True

    def open(self, what: str, handle: bytes, device: int, byte_size: int) -> CudaMemory:
        """Open memory that another process shares.

        Args:
            what: Name of the region in messages.
            handle: The bytes of a ``cudaIpcMemHandle_t``.
            device: Number of the GPU.
            byte_size: Minimum size.

        Raises:
            InvalidRequest: The handle, the device or the size is wrong.
            Unsupported: CUDA cannot be used here.
        """
        self.require()
        if TYPE_CHECKING:
            assert self._libraries is not None
        if len(handle) != HANDLE_BYTES:
            raise InvalidRequest(
                f"raw_handle of {what}: expected the {HANDLE_BYTES} bytes of a cudaIpcMemHandle_t, got {len(handle)}",
                field="raw_handle",
            )
        if not 0 <= device < self._devices:
            raise InvalidRequest(
                f"device_id of {what}: expected 0 to {self._devices - 1}, got {device}", field="device_id"
            )
        memory = CudaMemory(what, self._libraries, handle, device)
        if byte_size > memory.byte_size:
            raise InvalidRequest(
                f"{what}: {byte_size} bytes are more than the {memory.byte_size} that the handle stands for",
                field="byte_size",
            )
        return memory

    def _start(self) -> tuple[Libraries, int]:
        libraries = self._load()
        count = ctypes.c_int()
        code = libraries.runtime.cudaGetDeviceCount(ctypes.byref(count))
        if code:
            raise Unsupported(error_text(libraries, code))
        if not count.value:
            raise Unsupported("this machine has no GPU")
        return libraries, count.value


class CudaMemory:
    """An open IPC handle, closed when this object is garbage collected. Thread-safe.

    Args:
        what: Name of the region in messages.
        libraries: CUDA's libraries.
        handle: The bytes of a ``cudaIpcMemHandle_t``.
        device: Number of an existing GPU.

    Raises:
        InvalidRequest: The handle does not refer to memory of that GPU.

    Attributes:
        byte_size: From the address of the handle to the end of its allocation.
    """

    has_owner = False
    """CUDA does not report when the sharing process ends."""

    __slots__ = ("__weakref__", "_device", "_libraries", "_pointer", "_what", "byte_size")

    def __init__(self, what: str, libraries: Libraries, handle: bytes, device: int) -> None:
        self._what = what
        self._libraries = libraries
        self._device = device
        pointer = ctypes.c_void_p()
        self._select_device()
        code = libraries.runtime.cudaIpcOpenMemHandle(
            ctypes.byref(pointer), _Handle.from_buffer_copy(handle), ctypes.c_uint(_LAZY_ENABLE_PEER_ACCESS)
        )
        if code or pointer.value is None:
            _LOG.warning("CUDA did not open a handle: %s", error_text(libraries, code))
            raise InvalidRequest(
                f"raw_handle of {what} stands for no memory of device {device} that another process shares",
                field="raw_handle",
            )
        self._pointer = pointer.value
        weakref.finalize(self, _close, libraries, pointer.value, device)
        base, size = ctypes.c_void_p(), ctypes.c_size_t()
        # The runtime library cannot report the size of an allocation; the driver can.
        code = libraries.driver.cuMemGetAddressRange_v2(
            ctypes.byref(base), ctypes.byref(size), ctypes.c_void_p(self._pointer)
        )
        if code or base.value is None:
            raise InvalidRequest(f"raw_handle of {what}: the size of its memory is unknown", field="raw_handle")
        self.byte_size = base.value + size.value - self._pointer

    def is_abandoned(self) -> bool:
        """Never: see ``has_owner``."""
        return False

    def read(self, offset: int, target: memoryview) -> None:
        """Copy to ``target`` on the host. Blocks until done.

        Raises:
            ExecutionFailed: CUDA failed to copy.
        """
        host = np.frombuffer(target, np.uint8)
        self._copy(host.ctypes.data, self._pointer + offset, host.size, _DEVICE_TO_HOST)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Copy bytes from the host. Blocks until done.

        Raises:
            ExecutionFailed: CUDA failed to copy.
        """
        source = np.frombuffer(data, np.uint8)
        self._copy(self._pointer + offset, source.ctypes.data, source.size, _HOST_TO_DEVICE)

    def _copy(self, target: int, source: int, count: int, kind: int) -> None:
        if not count:
            return
        self._select_device()
        code = self._libraries.runtime.cudaMemcpy(
            ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(count), ctypes.c_int(kind)
        )
        if code:
            raise ExecutionFailed(f"{self._what} could not be copied: {error_text(self._libraries, code)}")

    def _select_device(self) -> None:
        # The device is selected per thread, which may have used another GPU before.
        self._libraries.runtime.cudaSetDevice(ctypes.c_int(self._device))


def _close(libraries: Libraries, pointer: int, device: int) -> None:
    libraries.runtime.cudaSetDevice(ctypes.c_int(device))
    libraries.runtime.cudaIpcCloseMemHandle(ctypes.c_void_p(pointer))
