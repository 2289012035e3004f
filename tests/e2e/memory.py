"""POSIX shared memory objects of the tests, and messages about them. Objects are removed when their context ends."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sardonyx_wire.messages import (
    SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryStatusRequest,
    SystemSharedMemoryUnregisterRequest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sardonyx_wire.messages import ModelInferRequest
    from tests.e2e.servers import Server

__all__ = ["NEEDS_POSIX_MEMORY", "Shared", "in_region", "regions", "register", "shared", "unregister", "without_data"]

_FOLDER: Final = Path("/dev/shm")  # noqa: S108  # Linux keeps the objects there
_NUMBERS: Final = itertools.count()

NEEDS_POSIX_MEMORY: Final = pytest.mark.skipif(not _FOLDER.is_dir(), reason="this machine has no POSIX shared memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """An object of this process's user.

    Attributes:
        key: For the server.
        path: Its file.
    """

    key: str
    path: Path

    def write(self, data: bytes, offset: int = 0) -> None:
        """Put bytes there."""
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self) -> bytes:
        """All of it."""
        return self.path.read_bytes()

    def truncate(self, size: int) -> None:
        """Make it smaller, or larger."""
        os.truncate(self.path, size)


@contextmanager
def shared(contents: bytes) -> Iterator[Shared]:
    """A new object with these bytes."""
    name = f"test_of_sardonyx_{os.getpid()}_{next(_NUMBERS)}"
    path = _FOLDER / name
    path.write_bytes(contents)
    try:
        yield Shared(key=f"/{name}", path=path)
    finally:
        path.unlink()


def register(server: Server, name: str, key: str, byte_size: int, offset: int = 0) -> None:
    """Register a region of system memory."""
    server.call(
        "SystemSharedMemoryRegister",
        SystemSharedMemoryRegisterRequest(name=name, key=key, byte_size=byte_size, offset=offset),
    )


def unregister(server: Server, name: str = "") -> None:
    """Forget one, or all."""
    server.call("SystemSharedMemoryUnregister", SystemSharedMemoryUnregisterRequest(name=name))


def regions(server: Server, name: str = "") -> dict[str, tuple[str, int, int]]:
    """Key, offset and size of each region of system memory, by name."""
    answer = server.call("SystemSharedMemoryStatus", SystemSharedMemoryStatusRequest(name=name))
    return {each.name: (each.key, each.offset, each.byte_size) for each in answer.regions.values()}


def in_region(tensor: Any, region: str, byte_size: int, offset: int = 0) -> None:
    """Say of an input or output of a request that it lies in a region."""
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
    if offset:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def without_data(message: ModelInferRequest) -> ModelInferRequest:
    """The request without its raw entries."""
    del message.raw_input_contents[:]
    return message
