"""What is set of the interpreter and of the C library in a process that only serves."""

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
# glibc's own choice, and more than the two regions of 64 MiB that it compares it with.
_TOP_PAD_BYTES: Final = 128 * 1024
_WHOLE_REGIONS_BYTES: Final = 256 * 1024 * 1024
# The most that every glibc takes.
_MAPPED_BYTES: Final = 32 * 1024 * 1024


def tune_process() -> None:
    """Set it, for the whole process. Call once, when the models are loaded.

    Switch interval: a runner that has finished waits for the interpreter at most this long while the lane works; the
    default of 5 ms would be most of a p99. Garbage: a request leaves no cycles, so a collection finds nothing and only
    costs; what is there now is exempt, the rest is looked at rarely.
    """
    _retain_freed_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _retain_freed_memory() -> None:
    """Keep some memory that was freed, instead of giving each tensor's back at once.

    A tensor of a picture takes pages that the kernel must first fill with zeros, one by one: for a request of 602 kB
    that took as long as all else, 130 us of 430 (2026-11-26). Where the C library is not glibc nothing happens.
    """
    mallopt = _mallopt()
    # Either one alone would switch off glibc's own choice, and leave the other small.
    if mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES):
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@contextmanager
def deferred_heap_trim() -> Iterator[None]:
    """Have nothing given back to the system that is freed meanwhile, on any thread.

    For what frees a great deal and keeps the interpreter's lock: to give back a region of 64 MiB, which glibc does
    once all of it is free, takes 1.5 to 3 ms (2026-11-26). It is given back when more is freed there later, which is at
    the next load at the latest. Where the C library is not glibc nothing happens.
    """
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    mallopt(_M_TOP_PAD, _WHOLE_REGIONS_BYTES)
    try:
        yield
    finally:
        # Where two do this at once, the first to end says so for both: then the other takes as long as it would have.
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)


def trim_heap() -> None:
    """Give all whole pages that are free back to the system. Blocks for 6 to 15 ms, without the interpreter's lock.

    glibc gives back only what lies at the end of a region, and after a session there are crumbs at the end. Threads
    that ask for memory meanwhile waited 0.06 ms at most (2026-11-26). Where the C library is not glibc nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _mallopt() -> Callable[[int, int], Any] | None:
    """mallopt(3); None where the C library has none."""
    try:
        mallopt: Callable[[int, int], Any] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return None
    return mallopt
