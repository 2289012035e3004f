"""When to hedge: make a second attempt of a call that has taken longer than most do. No I/O."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sardonyx_client._options import Hedge

__all__ = ["HedgingDelays"]

_WINDOW: Final = 256
# Calls between two updates of the delay: sorting 256 numbers takes some 10 us, too much for each call.
_REFRESH: Final = 16


class HedgingDelays:
    """The hedging delay of each model: a percentile of the latencies of its last calls. Thread-safe.

    Args:
        options: The percentile, and the delay until enough calls were made.
    """

    def __init__(self, options: Hedge) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._models: dict[str, _Latencies] = {}

    def delay_s(self, model: str) -> float:
        """How long to wait for the first attempt before the second is made."""
        known = self._models.get(model)
        return self._options.first_delay_s if known is None or known.delay_s is None else known.delay_s

    def record(self, model: str, seconds: float) -> None:
        """Record the latency of a call that succeeded."""
        with self._lock:
            known = self._models.get(model)
            if known is None:
                known = self._models[model] = _Latencies()
            known.seconds.append(seconds)
            known.since += 1
            if known.since >= _REFRESH:
                known.since = 0
                ranked = sorted(known.seconds)
                known.delay_s = ranked[min(len(ranked) - 1, int(len(ranked) * self._options.percentile / 100))]


class _Latencies:
    """Latencies of the last calls of one model."""

    __slots__ = ("delay_s", "seconds", "since")

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=_WINDOW)
        self.since = 0
        self.delay_s: float | None = None
