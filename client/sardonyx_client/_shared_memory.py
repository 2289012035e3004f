"""Control of the server's system shared memory regions: register, status, unregister. Creates no memory itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sardonyx_client import _operations
from sardonyx_client._timeout import CLIENT_DEFAULT

if TYPE_CHECKING:
    from sardonyx_client._operations import AsyncRun, Run
    from sardonyx_client._timeout import Timeout
    from sardonyx_client._values import SharedMemoryRegion

__all__ = ["AsyncSharedMemory", "SharedMemory"]


class SharedMemory:
    """Regions of the server, from :attr:`Client.shared_memory`. The server must run with ``--allow-client-shm``."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def register(
        self, name: str, key: str, *, size_bytes: int, offset_bytes: int = 0, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> None:
        """Register a region.

        Args:
            name: Name by which requests refer to it.
            key: Name of the POSIX shared memory object, such as ``/images``.
            size_bytes: Of the region.
            offset_bytes: Where it begins in the object.
            timeout_s: For this call.
        """
        operation = _operations.register_shared_memory(name, key, size_bytes=size_bytes, offset_bytes=offset_bytes)
        self._run(operation, timeout_s)

    def status(self, name: str = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> tuple[SharedMemoryRegion, ...]:
        """The region of this name, or all."""
        return self._run(_operations.shared_memory_status(name), timeout_s)

    def unregister(self, name: str = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> None:
        """Unregister the region of this name, or all."""
        self._run(_operations.unregister_shared_memory(name), timeout_s)


class AsyncSharedMemory:
    """Regions of the server, from :attr:`AsyncClient.shared_memory`. See :class:`SharedMemory`."""

    __slots__ = ("_run",)

    def __init__(self, run: AsyncRun) -> None:
        self._run = run

    async def register(
        self, name: str, key: str, *, size_bytes: int, offset_bytes: int = 0, timeout_s: Timeout = CLIENT_DEFAULT
    ) -> None:
        """See :meth:`SharedMemory.register`."""
        operation = _operations.register_shared_memory(name, key, size_bytes=size_bytes, offset_bytes=offset_bytes)
        await self._run(operation, timeout_s)

    async def status(self, name: str = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> tuple[SharedMemoryRegion, ...]:
        """See :meth:`SharedMemory.status`."""
        return await self._run(_operations.shared_memory_status(name), timeout_s)

    async def unregister(self, name: str = "", *, timeout_s: Timeout = CLIENT_DEFAULT) -> None:
        """See :meth:`SharedMemory.unregister`."""
        await self._run(_operations.unregister_shared_memory(name), timeout_s)
