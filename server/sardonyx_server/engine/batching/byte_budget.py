"""A limit on bytes that several users share: the queues of all models, or messages that are still being received."""

from __future__ import annotations

import threading

__all__ = ["ByteBudget"]


class ByteBudget:
    """Reserves and releases bytes against one limit. Thread-safe.

    Args:
        limit_bytes: Most bytes reserved at any time.
    """

    __slots__ = ("_lock", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._lock = threading.Lock()

    def try_reserve(self, count: int) -> bool:
        """Reserve bytes; False where they do not fit. An unused budget accepts any size: it would never fit later."""
        # acquire() and release(), because `with` takes twice as long and this runs for every request.
        self._lock.acquire()
        try:
            fits = not self.used_bytes or self.used_bytes + count <= self.limit_bytes
            if fits:
                self.used_bytes += count
        finally:
            self._lock.release()
        return fits

    def reserve(self, count: int) -> None:
        """Reserve bytes regardless of the limit, for a request that was admitted before."""
        with self._lock:
            self.used_bytes += count

    def release(self, count: int) -> None:
        """Release reserved bytes."""
        with self._lock:
            self.used_bytes -= count
