"""When the time of a stream's caller is up. Calls that are not streams need none of it: the engine looks at theirs."""

from __future__ import annotations

import heapq
import math
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_server.rpc.lane.stream import LaneStream

__all__ = ["Deadlines"]

# Streams that ended before their deadline are forgotten when there are more of them than of the others, and this many.
_FORGOTTEN: Final = 256


class Deadlines:
    """The streams that have a deadline, the next one first. Not thread-safe."""

    __slots__ = ("_heap", "_keep", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, weakref.ref[LaneStream]]] = []
        self._serial = 0
        self._keep = _FORGOTTEN

    def add(self, stream: LaneStream) -> None:
        """A stream has begun."""
        if stream.deadline_s == math.inf:
            return
        if len(self._heap) >= self._keep:
            self._heap = [entry for entry in self._heap if (known := entry[2]()) is not None and not known.ended]
            heapq.heapify(self._heap)
            self._keep = max(_FORGOTTEN, 2 * len(self._heap))
        self._serial += 1
        heapq.heappush(self._heap, (stream.deadline_s, self._serial, weakref.ref(stream)))

    def expire(self, now_s: float) -> None:
        """End the streams whose time is up."""
        while self._heap and self._heap[0][0] <= now_s:
            stream = heapq.heappop(self._heap)[2]()
            if stream is not None:
                stream.expire()

    def patience_s(self, now_s: float) -> float:
        """Seconds until the next one; infinity where there is none."""
        return max(0.0, self._heap[0][0] - now_s) if self._heap else math.inf
