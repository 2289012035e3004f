"""The registry of client shared memory regions, by the name under which they were registered. Opens no memory itself.

A region lives until it is unregistered, or until its owner process ends if that can be detected: a client that was
killed does not unregister anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sardonyx_server.engine.shared_memory.region import (
    CudaRegion,
    Memory,
    Region,
    SystemRegion,
    region_text,
    shared_memory_is_off,
)
from sardonyx_server.errors import AlreadyExists, InvalidRequest, NotFound, TryLater

__all__ = ["Cuda", "OpenSystem", "Regions"]

# Each region holds a file descriptor, and connections need them, too. perf_analyzer registers a region for each tensor
# of each request in flight.
_MAX_REGIONS: Final = 4096
_MAX_NAME_CHARACTERS: Final = 1024
# Interval of the check for ended owners, and so the time the memory of a killed client is kept. A check costs two
# system calls for each region that has an owner.
_CHECK_INTERVAL_S: Final = 5.0


OpenSystem = Callable[[str, str, int, int], Memory]
"""(the region for messages, key, offset of the region in the object, bytes) -> memory; raises InvalidRequest."""


class Cuda(Protocol):
    """CUDA on this machine."""

    def require(self) -> None:
        """Check that CUDA can be used.

        Raises:
            Unsupported: It cannot; the message says why.
        """

    def open(self, what: str, handle: bytes, device: int, byte_size: int) -> Memory:
        """Open memory that another process shares; ``what`` names it in messages.

        Raises:
            InvalidRequest: The handle, the device or the size is wrong.
            Unsupported: CUDA cannot be used here.
        """


_Kind = TypeVar("_Kind", bound=Region)


class Regions:
    """All registered regions; system and CUDA regions share one namespace. Any thread.

    Args:
        allowed: Whether the operator allows shared memory.
        open_system: Opens a POSIX shared memory object.
        cuda: Opens CUDA memory.
        check_interval_s: Interval of the check whether the owners of regions have ended.
    """

    __slots__ = ("_allowed", "_check_interval_s", "_cuda", "_lock", "_open_system", "_regions", "_stopped", "_watching")

    def __init__(
        self, *, allowed: bool, open_system: OpenSystem, cuda: Cuda, check_interval_s: float = _CHECK_INTERVAL_S
    ) -> None:
        self._allowed = allowed
        self._open_system = open_system
        self._cuda = cuda
        self._check_interval_s = check_interval_s
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}
        self._watching = False
        self._stopped = threading.Event()

    @property
    def allowed(self) -> bool:
        """Whether clients may register regions."""
        return self._allowed

    def find(self, name: str) -> Region:
        """Return the region of this name. Callers keep the object as long as they use it.

        Raises:
            Forbidden: Shared memory is off.
            NotFound: No such region.
        """
        # A single dict look-up needs no lock.
        region = self._regions.get(name)
        if region is not None:
            return region
        if not self._allowed:
            shared_memory_is_off()
        raise _unknown(name)

    def register_system(self, name: str, *, key: str, offset: int, byte_size: int) -> None:
        """Register a part of a POSIX shared memory object.

        Raises:
            Forbidden: Shared memory is off.
            AlreadyExists: The name is taken.
            InvalidRequest: The name or the size is invalid, or the key names nothing that may be opened.
            TryLater: There are too many regions.
        """
        self._check_new(name, byte_size)
        memory = self._open_system(region_text(name), key, offset, byte_size)
        self._add(SystemRegion(name=name, key=key, offset=offset, byte_size=byte_size, memory=memory))

    def register_cuda(self, name: str, *, handle: bytes, device: int, byte_size: int) -> None:
        """Register memory of a GPU.

        Raises:
            Unsupported: CUDA cannot be used here.
            Forbidden: Shared memory is off.
            AlreadyExists: The name is taken.
            InvalidRequest: The name, the size, the handle or the device is invalid.
            TryLater: There are too many regions.
        """
        self._cuda.require()
        self._check_new(name, byte_size)
        memory = self._cuda.open(region_text(name), handle, device, byte_size)
        self._add(CudaRegion(name=name, device=device, byte_size=byte_size, memory=memory))

    def listed(self, kind: type[_Kind], name: str) -> list[_Kind]:
        """Return regions of a kind: all for "", otherwise the one of that name.

        Raises:
            NotFound: No region of that kind has the name.
            Unsupported: A CUDA region is requested by name, and CUDA cannot be used here.
        """
        with self._lock:
            found = [region for region in self._regions.values() if isinstance(region, kind)]
        if not name:
            return found
        found = [region for region in found if region.name == name]
        if not found:
            if kind is CudaRegion:
                self._cuda.require()
            raise _unknown(name)
        return found

    def unregister(self, kind: type[Region], name: str) -> None:
        """Unregister regions of a kind: all for "", otherwise the one of that name, if there is one.

        Raises:
            Unsupported: A CUDA region is named, and CUDA cannot be used here.
        """
        if name and kind is CudaRegion:
            self._cuda.require()
        with self._lock:
            gone = [
                region
                for region in self._regions.values()
                if isinstance(region, kind) and (not name or region.name == name)
            ]
            for region in gone:
                del self._regions[region.name]

    def remove_abandoned(self) -> None:
        """Remove regions whose owners have ended. Requests in flight can still use them."""
        with self._lock:
            for region in [each for each in self._regions.values() if each.memory.is_abandoned()]:
                del self._regions[region.name]

    def stop(self) -> None:
        """Stop checking owners. Does not block."""
        self._stopped.set()

    def _watch(self) -> None:
        """Body of a thread that lives as long as there are regions with owners."""
        while not self._stopped.wait(self._check_interval_s):
            self.remove_abandoned()
            with self._lock:
                if not any(region.memory.has_owner for region in self._regions.values()):
                    self._watching = False
                    return

    def _check_new(self, name: str, byte_size: int) -> None:
        """Raise unless a region of this name and size may be registered."""
        if not self._allowed:
            shared_memory_is_off()
        if not name or len(name) > _MAX_NAME_CHARACTERS:
            raise InvalidRequest(
                f"name of a shared memory region: expected 1 to {_MAX_NAME_CHARACTERS} characters, got {len(name):,}",
                field="name",
            )
        if not byte_size:
            raise InvalidRequest(f"{region_text(name)}: expected a size of at least 1 byte, got 0", field="byte_size")
        # A client that restarts after a crash must be able to register its regions again.
        self.remove_abandoned()
        with self._lock:
            self._require_room(name)

    def _add(self, region: Region) -> None:
        with self._lock:
            self._require_room(region.name)
            self._regions[region.name] = region
            starts = region.memory.has_owner and not self._watching
            self._watching = self._watching or starts
        if starts:
            threading.Thread(target=self._watch, name="regions", daemon=True).start()

    def _require_room(self, name: str) -> None:
        if name in self._regions:
            raise AlreadyExists(f"{region_text(name)} is registered already: unregister it first, or take another name")
        if len(self._regions) >= _MAX_REGIONS:
            raise TryLater(
                f"{region_text(name)}: at most {_MAX_REGIONS} regions may be registered, and there are as many; "
                "unregister some",
                reason="TOO_MANY_REGIONS",
            )


def _unknown(name: str) -> NotFound:
    return NotFound(f"unknown {region_text(name)}: register it first", reason="REGION_NOT_FOUND")
