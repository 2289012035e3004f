"""Detects whether other models get requests while a model is loaded, from what they have answered. Counts nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.model import Model

__all__ = ["TrafficMonitor"]

# Below this rate requests are monitoring probes, not callers that care about their p99.
_BUSY_PER_S: Final = 10.0


class TrafficMonitor:
    """Monitors the traffic of models as long as they exist. For one thread, the loader's.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: WeakSet[Model] = WeakSet()

    def add(self, model: Model) -> None:
        """Monitor a model from now on."""
        self._models.add(model)

    def start(self) -> Callable[[], bool]:
        """Start an observation.

        Returns:
            A function that returns whether enough requests were answered since then that their callers would notice
            the loss of CPU time.
        """
        began_s = self._clock()
        before = [(model, _answered(model)) for model in self._models]

        def is_busy() -> bool:
            answered = sum(_answered(model) - count for model, count in before)
            return answered > _BUSY_PER_S * (self._clock() - began_s)

        return is_busy


def _answered(model: Model) -> int:
    return sum(counters.requests + counters.cache_hits for counters in model.counters)
