"""One region of memory that a client shares, as a request uses it: bounds, and who refuses where there is none.

A request keeps the regions it found until it is answered, and a region's memory is let go when nobody keeps it any
more. So a region can be unregistered at any time, and requests in flight still read and write what they were sent for.
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
    """What a client shares. Lets go of it when the last reference goes. Any thread."""

    @property
    def has_owner(self) -> bool:
        """Whether the end of the process that shares it can be seen."""

    def is_abandoned(self) -> bool:
        """Whether that process has ended. Does not block."""

    def read(self, offset: int, target: memoryview) -> None:
        """Fill ``target``; the caller has checked that so many bytes are within the region.

        Raises:
            InvalidRequest: They are there no more.
        """

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put the bytes there; the caller has checked that there is room in the region.

        Raises:
            InvalidRequest: There is no room any more.
        """


class DeferredRead:
    """Bytes of a region that are read when the model runs, straight into the memory it runs on.

    A copy at once, and its copy into a batch of 5 MB, took 85 us for a picture of 602 kB; this takes 38 (2026-11-26).

    Args:
        memory: Kept until they are read.
        offset: Where they begin.
        size: How many they are.
    """

    __slots__ = ("_memory", "_offset", "_size")

    def __init__(self, memory: Memory, offset: int, size: int) -> None:
        self._memory = memory
        self._offset = offset
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> DeferredRead:
        """Some of the bytes; a slice without a step."""
        start, stop, _ = part.indices(self._size)
        return DeferredRead(self._memory, self._offset + start, stop - start)

    def read(self, target: memoryview) -> None:
        """Fill ``target``, which has their size.

        Raises:
            InvalidRequest: The client has made its memory smaller.
        """
        self._memory.read(self._offset, target)

    def copy(self) -> memoryview:
        """Read them now. Raises as :meth:`read`."""
        data = np.empty(self._size, np.uint8)
        self.read(data.data)
        return data.data.toreadonly()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """Memory under a name.

    Attributes:
        name: That requests use.
        byte_size: Of the region, as it was registered.
        memory: Where the bytes are.
    """

    name: str
    byte_size: int
    memory: Memory

    def check(self, offset: int, count: int) -> None:
        """Raise unless ``count`` bytes from ``offset`` on are within the region.

        Raises:
            InvalidRequest: They are not.
        """
        if offset + count > self.byte_size:
            raise InvalidRequest(
                f"{region_text(self.name)} has {self.byte_size} bytes: {count} bytes at offset {offset} go beyond its "
                "end"
            )

    def read(self, offset: int, count: int) -> memoryview:
        """A private copy of bytes of the region.

        Raises:
            InvalidRequest: They are not within the region, or the client has made its memory smaller.
        """
        return self.part(offset, count).copy()

    def part(self, offset: int, count: int) -> DeferredRead:
        """Bytes of the region that shall be read later.

        Raises:
            InvalidRequest: They are not within the region.
        """
        self.check(offset, count)
        return DeferredRead(self.memory, offset, count)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes into the region.

        Raises:
            InvalidRequest: There is no room for them, or the client has made its memory smaller.
        """
        self.check(offset, len(data))
        self.memory.write(offset, data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemRegion(Region):
    """A part of a POSIX shared memory object.

    Attributes:
        key: Name of the object, as the client gave it.
        offset: Where the region begins in the object.
    """

    key: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CudaRegion(Region):
    """Memory of a GPU.

    Attributes:
        device: Its number.
    """

    device: int


FindRegion: TypeAlias = Callable[[str], Region]
"""Name -> region; raises Forbidden, or NotFound."""


def shared_memory_is_off(_name: str = "") -> NoReturn:
    """Refuse: what stands in for a look-up where the operator has not allowed shared memory.

    Raises:
        Forbidden: Always.
    """
    raise Forbidden(
        "shared memory of clients is off on this server: its operator can allow it with --allow-client-shm true; until "
        "then send tensors in raw_input_contents and take them from raw_output_contents",
        reason="SHARED_MEMORY_OFF",
    )


def region_text(name: str) -> str:
    """A region in a message."""
    return f"shared memory region {quoted(name)}"
