"""Whether models are being asked while another one is loaded, by what they have answered. Counts nothing itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.engine.running.model import Model

__all__ = ["Traffic"]

# Fewer requests than that are a monitor that tries a model now and then, not callers with a p99.
_SOME_PER_S: Final = 10.0


class Traffic:
    """The traffic of the models that were noted, as long as they exist. For one thread, the loader's.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: WeakSet[Model] = WeakSet()

    def note(self, model: Model) -> None:
        """From now on its traffic counts."""
        self._models.add(model)

    def watched(self) -> Callable[[], bool]:
        """Begin to watch.

        Returns:
            Says whether so much was answered since then that callers would notice who takes their cores.
        """
        began_s = self._clock()
        before = [(model, _answered(model)) for model in self._models]

        def is_busy() -> bool:
            answered = sum(_answered(model) - count for model, count in before)
            return answered > _SOME_PER_S * (self._clock() - began_s)

        return is_busy


def _answered(model: Model) -> int:
    return sum(counters.requests + counters.cache_hits for counters in model.counters)
