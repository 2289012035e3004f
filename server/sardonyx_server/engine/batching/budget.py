"""A bound of bytes that several share: the queues of all models, or messages that have not come whole yet."""

from __future__ import annotations

import threading

__all__ = ["ByteBudget"]


class ByteBudget:
    """Bytes that are reserved by some and given back. Thread-safe.

    Args:
        limit_bytes: Most bytes that may wait at any time.
    """

    __slots__ = ("_lock", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Reserve bytes; False where they do not fit. Where nothing waits any size fits: else it never would."""
        # Not by `with`, which takes twice as long: it is of each request.
        self._lock.acquire()
        try:
            fits = not self.used_bytes or self.used_bytes + count <= self.limit_bytes
            if fits:
                self.used_bytes += count
        finally:
            self._lock.release()
        return fits

    def add(self, count: int) -> None:
        """Reserve bytes whatever the limit: they were admitted before."""
        with self._lock:
            self.used_bytes += count

    def give(self, count: int) -> None:
        """Give reserved bytes back."""
        with self._lock:
            self.used_bytes -= count
