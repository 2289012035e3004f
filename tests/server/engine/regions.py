"""Shared memory without any: regions in this process, and a machine without CUDA. Opens nothing."""

from __future__ import annotations

from sardonyx_server.engine.shared_memory.region import Memory, Region
from sardonyx_server.engine.shared_memory.regions import Regions
from sardonyx_server.errors import InvalidRequest, Unsupported

__all__ = ["FakeCuda", "FakeMemory", "FakeSystem", "NoCuda", "no_system_memory", "region", "some_regions"]


class FakeMemory:
    """Memory of one region; ``size`` may be made smaller, as a client may."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.deferred_refs = 0
        self.has_owner = False
        self.abandoned = False

    def is_abandoned(self) -> bool:
        """As the test says."""
        return self.abandoned

    def read(self, offset: int, target: memoryview) -> None:
        """What lies there."""
        self.deferred_refs += 1
        if offset + len(target) > len(self.data):
            raise InvalidRequest("the region has become smaller")
        target[:] = self.data[offset : offset + len(target)]

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put it there."""
        if offset + len(data) > len(self.data):
            raise InvalidRequest("the region has become smaller")
        self.data[offset : offset + len(data)] = data


class FakeSystem:
    """Opens memory of the size that is asked for; keeps what it was asked. ``owned``: memory opened next has owners."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, int, int]] = []
        self.memories: list[FakeMemory] = []
        self.owned = False

    def __call__(self, what: str, key: str, offset: int, byte_size: int) -> FakeMemory:
        """One more."""
        self.opened.append((what, key, offset, byte_size))
        self.memories.append(FakeMemory(bytes(byte_size)))
        self.memories[-1].has_owner = self.owned
        return self.memories[-1]


class NoCuda:
    """A machine without CUDA."""

    def require(self) -> None:
        """Say so."""
        raise Unsupported("no CUDA here")

    def open(self, what: str, handle: bytes, device: int, byte_size: int) -> Memory:
        """Say so."""
        raise AssertionError(f"{what} is not to be opened: {handle!r} {device} {byte_size}")


class FakeCuda:
    """A machine with CUDA; keeps what it was asked."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, bytes, int, int]] = []

    def require(self) -> None:
        """It is there."""

    def open(self, what: str, handle: bytes, device: int, byte_size: int) -> FakeMemory:
        """One more."""
        self.opened.append((what, handle, device, byte_size))
        return FakeMemory(bytes(byte_size))


def no_system_memory(what: str, key: str, offset: int, byte_size: int) -> Memory:
    """Must not be called."""
    raise AssertionError(f"{what} is not to be opened: {key!r} {offset} {byte_size}")


def region(name: str, data: bytes) -> Region:
    """A region with these bytes."""
    return Region(name=name, byte_size=len(data), memory=FakeMemory(data))


def some_regions(**data: bytes) -> Regions:
    """Regions by name."""
    regions = Regions(allowed=True, open_system=FakeSystem(), cuda=NoCuda())
    for name, contents in data.items():
        regions.register_system(name, key=f"/{name}", offset=0, byte_size=len(contents))
        regions.find(name).memory.write(0, contents)
    return regions
