"""How the C library gives memory back."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["keep_freed_memory"]

# mallopt(3), of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 64 * 1024 * 1024
# The most that every glibc takes.
_MAPPED_BYTES: Final = 32 * 1024 * 1024


def keep_freed_memory() -> None:
    """Keep some memory that was freed, instead of giving each tensor's back at once. Any thread; for the whole process.

    A tensor of a picture takes pages that the kernel must first fill with zeros, one by one: for a request of 602 kB
    that took as long as all else, 130 us of 430 (2026-11-26). Where the C library is not glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    # Either one alone would switch off glibc's own choice, and leave the other small.
    if mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES):
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
