"""Tuning of the interpreter and of malloc for a serving process."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["deferred_heap_trim", "trim_heap", "tune_process"]

_SWITCH_INTERVAL_S: Final = 50e-6
# mallopt(3), of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 64 * 1024 * 1024
# glibc's default, and a value above the two 64 MiB heap regions that it is compared with.
_TOP_PAD_BYTES: Final = 128 * 1024
_WHOLE_REGIONS_BYTES: Final = 256 * 1024 * 1024
# The maximum accepted by every glibc.
_MAPPED_BYTES: Final = 32 * 1024 * 1024


def tune_process() -> None:
    """Tune the whole process. Call once, when the models are loaded.

    Switch interval: the longest time that a finished runner waits for the GIL while the lane works; the default of 5 ms
    would dominate the p99. Garbage collection: requests leave no reference cycles, so collections find nothing;
    existing objects are frozen, and collections become rare.
    """
    _retain_freed_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _retain_freed_memory() -> None:
    """Keep freed memory instead of returning that of each tensor to the system at once.

    Fresh memory costs a page fault and zeroing for each page: for a request with an image of 602 kB, 130 us of 430
    (2026-11-26). Does nothing if the C library is not glibc.
    """
    mallopt = _mallopt()
    # Setting only one of them would disable glibc's dynamic thresholds and leave the other small.
    if mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES):
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@contextmanager
def deferred_heap_trim() -> Iterator[None]:
    """Within the context, memory freed by any thread is not returned to the system.

    For code that frees much memory while it holds the GIL: returning a heap region of 64 MiB, which glibc does once all
    of it is free, takes 1.5 to 3 ms (2026-11-26). The memory is returned when more is freed there later, at the latest
    at the next load. Does nothing if the C library is not glibc.
    """
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    mallopt(_M_TOP_PAD, _WHOLE_REGIONS_BYTES)
    try:
        yield
    finally:
        # With two concurrent contexts, the first to end resets the setting; the other then takes as long as without it.
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def trim_heap() -> None:
    """Return all free pages to the system with malloc_trim(3). Blocks for 6 to 15 ms, without the GIL.

    By itself glibc returns only memory at the end of a heap region, where small allocations remain after a session.
    Threads that allocated meanwhile waited 0.06 ms at most (2026-11-26). Does nothing if the C library is not glibc.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _mallopt() -> Callable[[int, int], Any] | None:
    """mallopt(3); None if the C library has none."""
    try:
        mallopt: Callable[[int, int], Any] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return None
    return mallopt
