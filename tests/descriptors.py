"""Descriptors that this process has open, by what they are of. Linux only."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["IN_MEMORY", "SHARED_MEMORY", "descriptors_of"]

SHARED_MEMORY: Final = "/dev/shm/"  # noqa: S108  # looked for, not used
IN_MEMORY: Final = "/memfd:"


def descriptors_of(place: str) -> int:
    """How many are of files whose path begins so, those without a name among them.

    Not how many there are at all: threads of tests that are over close theirs when they like.
    """
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        # One may be closed while we look.
        with suppress(OSError):
            found += str(entry.readlink()).startswith(place)
    return found
