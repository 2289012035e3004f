"""One region of client shared memory as requests use it: bounds checks, reads and writes.

A request references its regions until it is answered, and a region's memory is unmapped with its last reference. So a
region can be unregistered at any time, and requests in flight still read and write it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np

from sardonyx_server.errors import Forbidden, InvalidRequest
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = [
    "CudaRegion",
    "DeferredRead",
    "FindRegion",
    "Memory",
    "Region",
    "SystemRegion",
    "region_text",
    "shared_memory_is_off",
]


class Memory(Protocol):
    """Memory that a client shares. It is unmapped with the last reference. All methods: any thread."""

    @property
    def has_owner(self) -> bool:
        """Whether the end of the process that shares it can be detected."""

    def is_abandoned(self) -> bool:
        """Whether that process has ended. Does not block."""

    def read(self, offset: int, target: memoryview) -> None:
        """Fill ``target``. Requires: the bytes are within the region.

        Raises:
            InvalidRequest: The memory has become smaller.
        """

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes. Requires: they are within the region.

        Raises:
            InvalidRequest: The memory has become smaller.
        """


class DeferredRead:
    """Bytes of a region that are read when the model runs, directly into the array it runs on.

    Copying an image of 602 kB at once, and then into a batch of 5 MB, took 85 us; this takes 38 us (2026-11-26).

    Args:
        memory: The memory; referenced until the bytes are read.
        offset: Offset of the first byte.
        size: Number of bytes.
    """

    __slots__ = ("_memory", "_offset", "_size")

    def __init__(self, memory: Memory, offset: int, size: int) -> None:
        self._memory = memory
        self._offset = offset
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> DeferredRead:
        """A part of the bytes. Requires: the slice has no step."""
        start, stop, _ = part.indices(self._size)
        return DeferredRead(self._memory, self._offset + start, stop - start)

    def read(self, target: memoryview) -> None:
        """Read the bytes into ``target``, which has their size.

        Raises:
            InvalidRequest: The client has made its memory smaller.
        """
        self._memory.read(self._offset, target)

    def copy(self) -> memoryview:
        """Read the bytes now, into a new buffer. Raises as :meth:`read`."""
        data = np.empty(self._size, np.uint8)
        self.read(data.data)
        return data.data.toreadonly()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A registered region.

    Attributes:
        name: Name that requests use.
        byte_size: Size of the region, as registered.
        memory: The memory.
    """

    name: str
    byte_size: int
    memory: Memory

    def check(self, offset: int, count: int) -> None:
        """Raise unless ``count`` bytes from ``offset`` on are within the region.

        Raises:
            InvalidRequest: They are not within the region.
        """
        if offset + count > self.byte_size:
            raise InvalidRequest(
                f"{region_text(self.name)} has {self.byte_size} bytes: {count} bytes at offset {offset} go beyond its "
                "end"
            )

    def read(self, offset: int, count: int) -> memoryview:
        """Return a private copy of bytes of the region.

        Raises:
            InvalidRequest: They are not within the region, or the client has made its memory smaller.
        """
        return self.part(offset, count).copy()

    def part(self, offset: int, count: int) -> DeferredRead:
        """Return bytes of the region as a deferred read.

        Raises:
            InvalidRequest: They are not within the region.
        """
        self.check(offset, count)
        return DeferredRead(self.memory, offset, count)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes into the region.

        Raises:
            InvalidRequest: They do not fit, or the client has made its memory smaller.
        """
        self.check(offset, len(data))
        self.memory.write(offset, data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemRegion(Region):
    """A part of a POSIX shared memory object.

    Attributes:
        key: Name of the object, as given by the client.
        offset: Offset of the region in the object.
    """

    key: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CudaRegion(Region):
    """Memory of a GPU.

    Attributes:
        device: Device number.
    """

    device: int


FindRegion: TypeAlias = Callable[[str], Region]
"""Name -> region; raises Forbidden, or NotFound."""


def shared_memory_is_off(_name: str = "") -> NoReturn:
    """Take the place of a look-up where the operator has not allowed shared memory.

    Raises:
        Forbidden: Always.
    """
    raise Forbidden(
        "shared memory of clients is off on this server: its operator can allow it with --allow-client-shm true; until "
        "then send tensors in raw_input_contents and take them from raw_output_contents",
        reason="SHARED_MEMORY_OFF",
    )


def region_text(name: str) -> str:
    """How messages name a region."""
    return f"shared memory region {quoted(name)}"
