"""The RPCs that register, list and unregister shared memory of clients. Knows no gRPC and reads no memory.

Each method takes a request message and returns the response message, or raises an error of sardonyx_server.errors.
Status and Unregister answer whether or not shared memory is allowed: if it is not, there are no regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_server.engine.shared_memory.region import CudaRegion, SystemRegion
from sardonyx_wire.messages import (
    CudaSharedMemoryRegisterResponse,
    CudaSharedMemoryStatusResponse,
    CudaSharedMemoryUnregisterResponse,
    SystemSharedMemoryRegisterResponse,
    SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterResponse,
)

if TYPE_CHECKING:
    from sardonyx_server.engine.shared_memory.regions import Regions
    from sardonyx_wire.messages import (
        CudaSharedMemoryRegisterRequest,
        CudaSharedMemoryStatusRequest,
        CudaSharedMemoryUnregisterRequest,
        SystemSharedMemoryRegisterRequest,
        SystemSharedMemoryStatusRequest,
        SystemSharedMemoryUnregisterRequest,
    )

__all__ = ["SharedMemory"]


class SharedMemory:
    """Answers the RPCs of system and CUDA shared memory. Any thread.

    Args:
        regions: The registered regions.
    """

    __slots__ = ("_regions",)

    def __init__(self, regions: Regions) -> None:
        self._regions = regions

    def system_status(self, request: SystemSharedMemoryStatusRequest) -> SystemSharedMemoryStatusResponse:
        """The regions of system memory; all of them for an empty name.

        Raises:
            NotFound: No region of system memory has the name.
        """
        response = SystemSharedMemoryStatusResponse()
        for region in self._regions.listed(SystemRegion, request.name):
            response.regions[region.name].MergeFrom(
                SystemSharedMemoryStatusResponse.RegionStatus(
                    name=region.name, key=region.key, offset=region.offset, byte_size=region.byte_size
                )
            )
        return response

    def system_register(self, request: SystemSharedMemoryRegisterRequest) -> SystemSharedMemoryRegisterResponse:
        """Register a part of a POSIX shared memory object under a name.

        Raises:
            Forbidden: The operator has not allowed shared memory.
            AlreadyExists: The name is taken.
            InvalidRequest: A field is wrong, or the object may not be opened.
            TryLater: There are too many regions.
        """
        self._regions.register_system(request.name, key=request.key, offset=request.offset, byte_size=request.byte_size)
        return SystemSharedMemoryRegisterResponse()

    def system_unregister(self, request: SystemSharedMemoryUnregisterRequest) -> SystemSharedMemoryUnregisterResponse:
        """Unregister a region of system memory, or all for an empty name. An unknown name is not an error."""
        self._regions.unregister(SystemRegion, request.name)
        return SystemSharedMemoryUnregisterResponse()

    def cuda_status(self, request: CudaSharedMemoryStatusRequest) -> CudaSharedMemoryStatusResponse:
        """The regions of CUDA memory; all of them for an empty name.

        Raises:
            NotFound: No region of CUDA memory has the name.
            Unsupported: A region is named, and CUDA cannot be used here.
        """
        response = CudaSharedMemoryStatusResponse()
        for region in self._regions.listed(CudaRegion, request.name):
            response.regions[region.name].MergeFrom(
                CudaSharedMemoryStatusResponse.RegionStatus(
                    name=region.name, device_id=region.device, byte_size=region.byte_size
                )
            )
        return response

    def cuda_register(self, request: CudaSharedMemoryRegisterRequest) -> CudaSharedMemoryRegisterResponse:
        """Register memory of a GPU under a name.

        Raises:
            Unsupported: CUDA cannot be used here.
            Forbidden: The operator has not allowed shared memory.
            AlreadyExists: The name is taken.
            InvalidRequest: A field is wrong.
            TryLater: There are too many regions.
        """
        self._regions.register_cuda(
            request.name, handle=request.raw_handle, device=request.device_id, byte_size=request.byte_size
        )
        return CudaSharedMemoryRegisterResponse()

    def cuda_unregister(self, request: CudaSharedMemoryUnregisterRequest) -> CudaSharedMemoryUnregisterResponse:
        """Unregister a region of CUDA memory, or all for an empty name. An unknown name is not an error.

        Raises:
            Unsupported: A region is named, and CUDA cannot be used here.
        """
        self._regions.unregister(CudaRegion, request.name)
        return CudaSharedMemoryUnregisterResponse()
