"""The shared-memory regions of one client: in use, or free for reuse. No communication with the server.

A region is released when nobody reads or writes it any more: an input region when the server has responded, an output
region when the caller has dropped the last array that is a view of it. If it is unknown whether the server still uses a
region, as after a timeout, it is discarded: what the server may still write there must not reach another call.

Input regions are reused for inputs only, and output regions for outputs only, so that each side finds its last writes
in its own CPU caches. With one free list for both, regions alternated with every call, and each copy of 602 kB came
from another core's cache.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from sardonyx_client._shm_pool.shared_region import SharedRegion

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RegionPool", "Use"]

Use = Literal["inputs", "outputs"]
"""What a region is used for."""

_Kind = tuple[Use, int]

# Size classes: eighths of the power of two below. Little is wasted, and requests of similar size share regions.
_STEPS: Final = 8
_LEAST_STEP_BYTES: Final = 64 * 1024


class RegionPool:
    """A pool of shared-memory regions. Thread-safe.

    Args:
        max_bytes: Most bytes of all regions together.
        make: Creates a region of a size in bytes; raises OSError.
    """

    def __init__(self, max_bytes: int, make: Callable[[int], SharedRegion] = SharedRegion) -> None:
        self._max_bytes = max_bytes
        self._make = make
        self._lock = threading.Lock()
        # Free regions by use and size class.
        self._free: dict[_Kind, list[SharedRegion]] = {}
        self._regions: dict[str, tuple[_Kind, SharedRegion]] = {}
        self._bytes = 0
        # Weak references to the views of results, which report when a region is no longer used.
        self._views: dict[str, weakref.ref[NDArray[np.uint8]]] = {}
        # Filled by the garbage collector, on any thread at any time, even one that holds the lock.
        self._released: deque[SharedRegion] = deque()

    def acquire(self, size_bytes: int, use: Use) -> tuple[SharedRegion, bool] | None:
        """Take a region of at least this size.

        Args:
            size_bytes: At least 1.
            use: What it is for.

        Returns:
            (region, whether it is new, so not registered with the server); None = the pool is exhausted.

        Raises:
            OSError: The system is out of memory.
        """
        size_bytes = _size_class(size_bytes)
        with self._lock:
            self._reclaim_released()
            waiting = self._free.get((use, size_bytes))
            if waiting:
                return waiting.pop(), False
            if not self._evict(size_bytes):
                return None
            self._bytes += size_bytes
        try:
            region = self._make(size_bytes)
        except BaseException:
            with self._lock:
                self._bytes -= size_bytes
            raise
        with self._lock:
            self._regions[region.name] = (use, size_bytes), region
        return region, True

    def release(self, region: SharedRegion) -> None:
        """Return a region for reuse. Any thread may call it, at any time."""
        self._released.append(region)

    def release_with_view(self, view: NDArray[np.uint8], region: SharedRegion) -> None:
        """Return a region for reuse once ``view`` and all views of it are gone."""
        self._views[region.name] = weakref.ref(view, partial(self._on_view_dropped, region))

    def _on_view_dropped(self, region: SharedRegion, _view: object) -> None:
        # Called by the garbage collector, see above. Both operations are atomic, so they need no lock.
        self._views.pop(region.name, None)
        self._released.append(region)

    def discard(self, region: SharedRegion) -> None:
        """Close a region that must not be reused."""
        with self._lock:
            self._remove(region)

    def clear(self) -> None:
        """Discard all regions: the server does not know them any more, or the client is closed."""
        with self._lock:
            for _, region in list(self._regions.values()):
                self._remove(region)
            self._free.clear()

    def _reclaim_released(self) -> None:
        while self._released:
            known = self._regions.get(self._released.popleft().name)
            if known is not None:
                kind, region = known
                self._free.setdefault(kind, []).append(region)

    def _evict(self, size_bytes: int) -> bool:
        """Discard free regions of other classes until a region of this size fits; returns whether it does."""
        if size_bytes > self._max_bytes:
            return False
        for waiting in self._free.values():
            while waiting and self._bytes + size_bytes > self._max_bytes:
                self._remove(waiting.pop())
        return self._bytes + size_bytes <= self._max_bytes

    def _remove(self, region: SharedRegion) -> None:
        # If a result is still a view of it, its memory stays as long as the result, and is no longer counted.
        if self._regions.pop(region.name, None) is not None:
            self._bytes -= region.size_bytes
            region.close()


def _size_class(size_bytes: int) -> int:
    step = max(_LEAST_STEP_BYTES, (1 << (size_bytes - 1).bit_length()) // (2 * _STEPS))
    return -(-size_bytes // step) * step
