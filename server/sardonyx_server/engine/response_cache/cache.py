"""Answers that were given before, of all models whose config asks for a response cache, within one bound of bytes.

Holds outputs by the key of a request and forgets the least recently used first. Knows no requests and computes nothing:
``single_flight.py`` makes the keys and decides what is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.engine.requests.outputs import RequestOutputs

__all__ = ["ResponseCache"]

# One answer must not push out all others.
_ENTRIES_AT_LEAST: Final = 8
# What Python's objects around an entry and around each of its outputs take, rounded up (tracemalloc, 2026-11-24: 430
# and 50 bytes, and the dimensions). Without them, a million answers of one number each would count for next to nothing.
_ENTRY_BYTES: Final = 512
_OUTPUT_BYTES: Final = 256


class ResponseCache:
    """What is kept. Thread-safe; no method blocks.

    Args:
        limit_bytes: Most bytes of entries at any time.

    Attributes:
        largest_bytes: Most bytes of one entry.
        used_bytes: Bytes of the entries there are.
    """

    __slots__ = ("_entries", "_lock", "largest_bytes", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.largest_bytes = limit_bytes // _ENTRIES_AT_LEAST
        self.used_bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[object, bytes], RequestOutputs] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, owner: object, key: bytes) -> RequestOutputs | None:
        """The outputs that are kept under this key, or None.

        Args:
            owner: Whose answers they are; told apart by identity.
            key: Of the request.
        """
        with self._lock:
            outputs = self._entries.get((owner, key))
            if outputs is not None:
                self._entries.move_to_end((owner, key))
            return outputs

    def fits(self, outputs: RequestOutputs) -> bool:
        """Whether outputs are small enough to be kept."""
        return size_bytes(outputs) <= self.largest_bytes

    def put(self, owner: object, key: bytes, outputs: RequestOutputs) -> None:
        """Keep outputs, in place of what was kept under the key. Requires: they fit, and are bytes of their own."""
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
        """Forget all answers of an owner. Takes time in proportion to all entries."""
        with self._lock:
            for place in [place for place in self._entries if place[0] is owner]:
                self.used_bytes -= size_bytes(self._entries.pop(place))


def size_bytes(outputs: RequestOutputs) -> int:
    """What outputs count for while they are kept."""
    return _ENTRY_BYTES + _OUTPUT_BYTES * len(outputs.row_shapes) + outputs.data_bytes
