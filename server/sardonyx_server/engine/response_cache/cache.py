"""The response cache: an LRU cache of answers, within one limit on bytes for all models that enable it.

Stores outputs by the key of a request. Knows no requests: single_flight.py computes the keys and decides what is
stored.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.requests.outputs import RequestOutputs

__all__ = ["ResponseCache"]

# The cache has room for at least this many entries, so that one answer cannot evict all others.
_MIN_ENTRIES: Final = 8
# Memory of the Python objects of an entry and of each of its outputs, rounded up (tracemalloc, 2026-11-24: 430 and 50
# bytes, and the dimensions). Without them, a million answers of one number each would count for next to nothing.
_ENTRY_BYTES: Final = 512
_OUTPUT_BYTES: Final = 256


class ResponseCache:
    """An LRU cache of outputs. Thread-safe; no method blocks.

    Args:
        limit_bytes: Most bytes of entries at any time.

    Attributes:
        largest_bytes: Most bytes of one entry.
        used_bytes: Bytes of all entries.
    """

    __slots__ = ("_entries", "_lock", "largest_bytes", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.largest_bytes = limit_bytes // _MIN_ENTRIES
        self.used_bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[object, bytes], RequestOutputs] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, owner: object, key: bytes) -> RequestOutputs | None:
        """Return the outputs stored under this key, or None.

        Args:
            owner: Owner of the answers, compared by identity.
            key: Key of the request.
        """
        with self._lock:
            outputs = self._entries.get((owner, key))
            if outputs is not None:
                self._entries.move_to_end((owner, key))
            return outputs

    def fits(self, outputs: RequestOutputs) -> bool:
        """Whether outputs are small enough to be stored."""
        return size_bytes(outputs) <= self.largest_bytes

    def put(self, owner: object, key: bytes, outputs: RequestOutputs) -> None:
        """Store outputs under a key, replacing earlier ones. Requires: they fit, and are no views of a batch."""
        size = size_bytes(outputs)
        with self._lock:
            old = self._entries.pop((owner, key), None)
            if old is not None:
                self.used_bytes -= size_bytes(old)
            self._entries[owner, key] = outputs
            self.used_bytes += size
            while self.used_bytes > self.limit_bytes:
                _, oldest = self._entries.popitem(last=False)
                self.used_bytes -= size_bytes(oldest)

    def drop(self, owner: object) -> None:
        """Remove all answers of an owner. Takes time proportional to the number of all entries."""
        with self._lock:
            for entry in [entry for entry in self._entries if entry[0] is owner]:
                self.used_bytes -= size_bytes(self._entries.pop(entry))


def size_bytes(outputs: RequestOutputs) -> int:
    """Bytes that stored outputs count for."""
    return _ENTRY_BYTES + _OUTPUT_BYTES * len(outputs.row_shapes) + outputs.data_bytes
