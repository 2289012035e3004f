"""Bytes as a file that lies in memory, for libraries that read files better than bytes. Only Linux has such files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["memory_file"]

_DESCRIPTORS: Final = Path("/proc/self/fd")


@contextmanager
def memory_file(data: bytes | memoryview) -> Iterator[str | None]:
    """A path under which this process finds a copy of the bytes, as long as the context lasts.

    Blocks while it copies, without the interpreter's lock. Nobody else can open or change it.

    Args:
        data: Of any size that the memory has room for.

    Yields:
        The path; None where the system has no such files, or no memory for this one.
    """
    descriptor = _copied(data)
    try:
        yield None if descriptor is None else str(_DESCRIPTORS / str(descriptor))
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _copied(data: bytes | memoryview) -> int | None:
    if not hasattr(os, "memfd_create") or not _DESCRIPTORS.is_dir():
        return None
    try:
        descriptor = os.memfd_create("model", os.MFD_CLOEXEC)
    except OSError:
        # A sandbox may forbid it.
        return None
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
