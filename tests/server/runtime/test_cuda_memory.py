"""CUDA memory through a library made by hand: what is called, with what, and what becomes of its errors.

On a machine with a GPU, and there only, the last test goes through CUDA itself.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import pytest

from sardonyx_server.engine.shared_memory.region import DeferredRead
from sardonyx_server.errors import ExecutionFailed, InvalidRequest, Unsupported
from sardonyx_server.runtime.cuda_libraries import Libraries, load_libraries
from sardonyx_server.runtime.cuda_memory import HANDLE_BYTES, CudaRuntime

WHAT = "shared memory region 'r'"
HANDLE = bytes(range(HANDLE_BYTES))
ALLOCATED_BYTES = 100
# cudaErrorInvalidValue, cudaErrorInsufficientDriver, cudaErrorMapBufferObjectFailed
INVALID, NO_DRIVER, CANNOT_MAP = 1, 35, 205


class Function:
    """A function of a library; remembers that a result type was set, as ctypes' do."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.restype: Any = ctypes.c_int

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._call(*arguments)


class FakeCudart:
    """Two devices, and one allocation that another process shares: 20 bytes into 120."""

    def __init__(self, *, devices: int = 2, count_error: int = 0) -> None:
        self.memory = ctypes.create_string_buffer(bytes(20) + bytes(range(ALLOCATED_BYTES)), 20 + ALLOCATED_BYTES)
        self.base = ctypes.addressof(self.memory)
        self.devices = devices
        self.count_error = count_error
        self.copy_error = 0
        self.size_error = 0
        self.selected: list[int] = []
        self.closed: list[int] = []
        self.forgotten = 0
        self.flags: list[int] = []
        self.cudaGetErrorString = Function(lambda code: f"CUDA says {code.value}".encode())

    def cudaGetDeviceCount(self, count: Any) -> int:  # noqa: N802  # CUDA's name
        """Devices of the machine."""
        count._obj.value = self.devices
        return self.count_error

    def cudaSetDevice(self, device: ctypes.c_int) -> int:  # noqa: N802  # CUDA's name
        """Select one for the calls that follow on this thread."""
        self.selected.append(device.value)
        return 0

    def cudaGetLastError(self) -> int:  # noqa: N802  # CUDA's name
        """Forget it."""
        self.forgotten += 1
        return 0

    def cudaIpcOpenMemHandle(self, pointer: Any, handle: Any, flags: ctypes.c_uint) -> int:  # noqa: N802  # CUDA's name
        """Only one handle stands for something."""
        self.flags.append(flags.value)
        if bytes(handle) != HANDLE:
            return CANNOT_MAP
        pointer._obj.value = self.base + 20
        return 0

    def cudaIpcCloseMemHandle(self, pointer: ctypes.c_void_p) -> int:  # noqa: N802  # CUDA's name
        """Let go."""
        assert pointer.value is not None
        self.closed.append(pointer.value)
        return 0

    def cudaMemcpy(self, target: ctypes.c_void_p, source: ctypes.c_void_p, count: ctypes.c_size_t, kind: Any) -> int:  # noqa: N802  # CUDA's name
        """Between the host and the device, in the direction that the kind says."""
        if self.copy_error:
            return self.copy_error
        device = (source if kind.value == 2 else target).value
        assert device is not None
        assert self.base <= device
        assert device + count.value <= self.base + 20 + ALLOCATED_BYTES
        ctypes.memmove(target, source, count.value)
        return 0

    def cuMemGetAddressRange_v2(self, base: Any, size: Any, pointer: ctypes.c_void_p) -> int:  # noqa: N802  # CUDA's name
        """The allocation that a pointer is in; a function of the driver."""
        assert pointer.value == self.base + 20
        base._obj.value, size._obj.value = self.base, 20 + ALLOCATED_BYTES
        return self.size_error


def cuda(library: FakeCudart) -> CudaRuntime:
    """CUDA of that library."""
    return CudaRuntime(lambda: Libraries(library, library))


def test_memory_is_copied_to_and_from_the_host() -> None:
    """On the device that was named, each time: another thread may have selected another."""
    library = FakeCudart()
    memory = cuda(library).open(WHAT, HANDLE, 1, 60)
    assert bytes(DeferredRead(memory, 10, 5).copy()) == bytes(range(10, 15))
    memory.write(10, memoryview(b"abcde"))
    assert bytes(DeferredRead(memory, 8, 9).copy()) == b"\x08\x09abcde\x0f\x10"
    assert bytes(DeferredRead(memory, 60, 0).copy()) == b""
    memory.write(0, b"")
    assert set(library.selected) == {1}
    assert library.flags == [1]


def test_a_handle_is_closed_with_the_last_reference() -> None:
    """On its own device."""
    library = FakeCudart()
    memory = cuda(library).open(WHAT, HANDLE, 0, 60)
    assert not library.closed
    del memory
    gc.collect()
    assert library.closed == [library.base + 20]


@pytest.mark.parametrize(
    ("handle", "device", "byte_size", "expected", "field"),
    [
        (b"", 0, 1, f"raw_handle of {WHAT}: expected the 64 bytes of a cudaIpcMemHandle_t, got 0", "raw_handle"),
        (
            HANDLE + b"x",
            0,
            1,
            f"raw_handle of {WHAT}: expected the 64 bytes of a cudaIpcMemHandle_t, got 65",
            "raw_handle",
        ),
        (HANDLE, 2, 1, f"device_id of {WHAT}: expected 0 to 1, got 2", "device_id"),
        (HANDLE, -1, 1, f"device_id of {WHAT}: expected 0 to 1, got -1", "device_id"),
        (
            bytes(64),
            0,
            1,
            f"raw_handle of {WHAT} stands for no memory of device 0 that another process shares",
            "raw_handle",
        ),
        (HANDLE, 0, 101, f"{WHAT}: 101 bytes are more than the 100 that the handle stands for", "byte_size"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    handle: bytes, device: int, byte_size: int, expected: str, field: str
) -> None:
    """And nothing stays open."""
    library = FakeCudart()
    with pytest.raises(InvalidRequest) as caught:
        cuda(library).open(WHAT, handle, device, byte_size)
    assert (caught.value.message, caught.value.field) == (expected, field)
    opened = handle == HANDLE and device == 0
    del caught
    gc.collect()
    assert bool(library.closed) is opened


def test_memory_of_unknown_size_is_refused() -> None:
    """Nobody could say where it ends."""
    library = FakeCudart()
    library.size_error = INVALID
    with pytest.raises(InvalidRequest, match=r": the size of its memory is unknown$"):
        cuda(library).open(WHAT, HANDLE, 0, 1)


def test_a_copy_that_fails_is_an_error_in_cudas_words() -> None:
    """Which CUDA then forgets: the next call would report it again."""
    library = FakeCudart()
    memory = cuda(library).open(WHAT, HANDLE, 0, 60)
    library.copy_error = INVALID
    with pytest.raises(ExecutionFailed, match=rf"^{WHAT} could not be copied: CUDA says 1$"):
        DeferredRead(memory, 0, 1).copy()
    assert library.forgotten == 1


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        (FakeCudart(count_error=NO_DRIVER), "CUDA shared memory cannot be used: CUDA says 35"),
        (FakeCudart(devices=0), "CUDA shared memory cannot be used: this machine has no GPU"),
    ],
)
def test_a_machine_that_cannot_says_why_each_time(library: FakeCudart, expected: str) -> None:
    """CUDA is asked once."""
    runtime = cuda(library)
    for _ in range(2):
        with pytest.raises(Unsupported) as caught:
            runtime.require()
        assert caught.value.message == expected
        assert not runtime.usable()
        with pytest.raises(Unsupported):
            runtime.open(WHAT, HANDLE, 0, 1)


def test_the_libraries_are_loaded_once_and_only_when_asked_for() -> None:
    """Most servers never need them."""
    loaded = []

    def load() -> Libraries:
        loaded.append(1)
        return Libraries(FakeCudart(), FakeCudart())

    runtime = CudaRuntime(load)
    assert not loaded
    runtime.require()
    assert runtime.usable()
    assert loaded == [1]


@pytest.mark.gpu
def test_cuda_itself_counts_its_devices_and_refuses_a_handle_of_nothing() -> None:
    """The calls have the form that CUDA expects."""
    try:
        load_libraries()
        runtime = CudaRuntime()
        runtime.require()
    except Unsupported as error:
        pytest.skip(error.message)
    with pytest.raises(InvalidRequest, match="stands for no memory of device 0"):
        runtime.open(WHAT, bytes(HANDLE_BYTES), 0, 1)
