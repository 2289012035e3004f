"""The shared memory of one client: regions that are in use, and those that wait to be used again. Speaks to no server.

A region goes back when nobody reads or writes it any more: one of inputs when the server has answered, one of outputs
when the caller has dropped the last array that lies in it. Where nobody knows whether the server is done with it, as
after a time-out, it is let go instead: what the server still writes there must not reach another call.

A region of inputs holds inputs again, and one of outputs outputs: what one side has written last it finds in its own
caches. With one list for both they changed places with every call, and each copy of 602 kB came from another core.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from sardonyx_client._regions.shared_region import SharedRegion

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RegionPool", "Use"]

Use = Literal["inputs", "outputs"]
"""What a region holds."""

_Kind = tuple[Use, int]

# Sizes are rounded up to eighths of the power of two below: little is wasted, and requests of about one size share.
_STEPS: Final = 8
_LEAST_STEP_BYTES: Final = 64 * 1024


class RegionPool:
    """Thread-safe.

    Args:
        most_bytes: Of all regions together.
        make: Size -> region; raises OSError.
    """

    def __init__(self, most_bytes: int, make: Callable[[int], SharedRegion] = SharedRegion) -> None:
        self._most_bytes = most_bytes
        self._make = make
        self._lock = threading.Lock()
        # By use and size.
        self._free: dict[_Kind, list[SharedRegion]] = {}
        self._known: dict[str, tuple[_Kind, SharedRegion]] = {}
        self._bytes = 0
        # Regions that results lie in: what tells of their end.
        self._lent: dict[str, weakref.ref[NDArray[np.uint8]]] = {}
        # Filled by the collector of garbage, on any thread at any moment: even on one that holds the lock.
        self._returned: deque[SharedRegion] = deque()

    def take(self, size_bytes: int, use: Use) -> tuple[SharedRegion, bool] | None:
        """A region of at least this size, and whether it is new: the server does not know it yet.

        Args:
            size_bytes: At least 1.
            use: What it is for.

        Returns:
            None where too much is in use.

        Raises:
            OSError: The system has no memory for it.
        """
        size_bytes = _rounded(size_bytes)
        with self._lock:
            self._collect()
            waiting = self._free.get((use, size_bytes))
            if waiting:
                return waiting.pop(), False
            if not self._make_place(size_bytes):
                return None
            self._bytes += size_bytes
        try:
            region = self._make(size_bytes)
        except BaseException:
            with self._lock:
                self._bytes -= size_bytes
            raise
        with self._lock:
            self._known[region.name] = (use, size_bytes), region
        return region, True

    def give_back(self, region: SharedRegion) -> None:
        """It may be used for another call. Any thread at any moment."""
        self._returned.append(region)

    def give_back_with(self, view: NDArray[np.uint8], region: SharedRegion) -> None:
        """The same, once the last view that keeps ``view`` alive is gone."""
        self._lent[region.name] = weakref.ref(view, partial(self._view_gone, region))

    def _view_gone(self, region: SharedRegion, _view: object) -> None:
        # By the collector of garbage, see above. Each of the two steps is one that no lock need guard.
        self._lent.pop(region.name, None)
        self._returned.append(region)

    def let_go(self, region: SharedRegion) -> None:
        """It must not be used again."""
        with self._lock:
            self._drop(region)

    def forget(self) -> None:
        """Let go of all: the server does not know them any more, or nobody needs them."""
        with self._lock:
            for _, region in list(self._known.values()):
                self._drop(region)
            self._free.clear()

    def _collect(self) -> None:
        while self._returned:
            known = self._known.get(self._returned.popleft().name)
            if known is not None:
                kind, region = known
                self._free.setdefault(kind, []).append(region)

    def _make_place(self, size_bytes: int) -> bool:
        """Let go of regions that wait, of other kinds, until one of this size fits."""
        if size_bytes > self._most_bytes:
            return False
        for waiting in self._free.values():
            while waiting and self._bytes + size_bytes > self._most_bytes:
                self._drop(waiting.pop())
        return self._bytes + size_bytes <= self._most_bytes

    def _drop(self, region: SharedRegion) -> None:
        # A result may still lie in it: then its memory stays as long as the result, and is not counted any more.
        if self._known.pop(region.name, None) is not None:
            self._bytes -= region.size_bytes
            region.release()


def _rounded(size_bytes: int) -> int:
    step = max(_LEAST_STEP_BYTES, (1 << (size_bytes - 1).bit_length()) // (2 * _STEPS))
    return -(-size_bytes // step) * step
