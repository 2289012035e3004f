"""The RPCs about shared memory over a real socket: fields of requests and answers, and the status of each refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from sardonyx_server.engine.shared_memory.regions import Regions
from sardonyx_wire.messages import (
    CudaSharedMemoryRegisterRequest,
    CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse,
    CudaSharedMemoryUnregisterRequest,
    SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterRequest,
)
from tests.server.engine.regions import FakeCuda, FakeMemory, FakeSystem
from tests.server.rpc.doubles import Running, running

SYSTEM = SystemSharedMemoryRegisterRequest(name="s", key="/key", offset=4, byte_size=2**40)
CUDA = CudaSharedMemoryRegisterRequest(name="c", raw_handle=bytes(64), device_id=3, byte_size=16)


class Opened:
    """A server with fakes for both kinds of memory."""

    def __init__(self, server: Running, cuda: FakeCuda) -> None:
        self.call = server.call
        self.cuda = cuda

    def names(self) -> tuple[list[str], list[str]]:
        """Regions of system memory, and of CUDA memory."""
        system = self.call("SystemSharedMemoryStatus", SystemSharedMemoryStatusRequest())
        cuda = self.call("CudaSharedMemoryStatus", CudaSharedMemoryStatusRequest())
        return sorted(system.regions), sorted(cuda.regions)


class Unbacked(FakeSystem):
    """Takes any size, and has little memory behind it."""

    def __call__(self, what: str, key: str, offset: int, byte_size: int) -> FakeMemory:
        """Keep what was asked."""
        super().__call__(what, key, offset, 1)
        self.opened[-1] = (what, key, offset, byte_size)
        return self.memories[-1]


@pytest.fixture
def server() -> Iterator[Opened]:
    """It allows shared memory, and has a region of each kind."""
    cuda = FakeCuda()
    with running(regions=Regions(allowed=True, open_system=Unbacked(), cuda=cuda)) as on:
        on.call("SystemSharedMemoryRegister", SYSTEM)
        on.call("CudaSharedMemoryRegister", CUDA)
        yield Opened(on, cuda)


def code_of(call: Any) -> grpc.StatusCode:
    """The status of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    code: grpc.StatusCode = error.code()
    return code


def test_each_kind_lists_its_regions_by_name(server: Opened) -> None:
    """With all that was registered but the handle."""
    listed = server.call("SystemSharedMemoryStatus", SystemSharedMemoryStatusRequest(name="s"))
    status = SystemSharedMemoryStatusResponse.RegionStatus(name="s", key="/key", offset=4, byte_size=2**40)
    assert dict(listed.regions) == {"s": status}
    listed = server.call("CudaSharedMemoryStatus", CudaSharedMemoryStatusRequest(name="c"))
    assert dict(listed.regions) == {
        "c": CudaSharedMemoryStatusResponse.RegionStatus(name="c", device_id=3, byte_size=16)
    }
    assert server.cuda.opened == [("shared memory region 'c'", bytes(64), 3, 16)]
    assert server.names() == (["s"], ["c"])


@pytest.mark.parametrize("name", ["", "s"])
def test_system_memory_is_forgotten(server: Opened, name: str) -> None:
    """One region or all; the other kind stays."""
    server.call("SystemSharedMemoryUnregister", SystemSharedMemoryUnregisterRequest(name=name))
    assert server.names() == ([], ["c"])


@pytest.mark.parametrize("name", ["", "c"])
def test_cuda_memory_is_forgotten(server: Opened, name: str) -> None:
    """One region or all; the other kind stays."""
    server.call("CudaSharedMemoryUnregister", CudaSharedMemoryUnregisterRequest(name=name))
    assert server.names() == (["s"], [])


def test_refusals_have_their_status(server: Opened) -> None:
    """A name that is taken, and one that is not there."""
    assert code_of(lambda: server.call("SystemSharedMemoryRegister", SYSTEM)) is grpc.StatusCode.ALREADY_EXISTS
    assert code_of(lambda: server.call("CudaSharedMemoryRegister", CUDA)) is grpc.StatusCode.ALREADY_EXISTS
    request = SystemSharedMemoryStatusRequest(name="c")
    assert code_of(lambda: server.call("SystemSharedMemoryStatus", request)) is grpc.StatusCode.NOT_FOUND


def test_where_it_is_off_lists_are_empty_and_can_be_cleared() -> None:
    """Only registering is refused: for want of CUDA, or of permission."""
    with running() as off:
        assert Opened(off, FakeCuda()).names() == ([], [])
        off.call("SystemSharedMemoryUnregister", SystemSharedMemoryUnregisterRequest())
        off.call("SystemSharedMemoryUnregister", SystemSharedMemoryUnregisterRequest(name="s"))
        off.call("CudaSharedMemoryUnregister", CudaSharedMemoryUnregisterRequest())
        assert code_of(lambda: off.call("SystemSharedMemoryRegister", SYSTEM)) is grpc.StatusCode.PERMISSION_DENIED
        assert code_of(lambda: off.call("CudaSharedMemoryRegister", CUDA)) is grpc.StatusCode.UNIMPLEMENTED
