"""Cache of the measurements of models, by content, so that the same content is measured once.

Measuring takes most of the time of a load, and takes CPU time from the requests served meanwhile. The cache lives only
as long as the process, so that it never applies to another machine, other cores or another version of onnxruntime.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from sardonyx_server.runtime.thread_allocation import fastest

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sardonyx_server.engine.profiling.verdict import Verdict
    from sardonyx_server.runtime.thread_allocation import ThreadAllocation

__all__ = ["MeasurementCache", "Measurements"]

ContentKey: TypeAlias = "Hashable"
"""Equal for two versions exactly if their measurements are interchangeable."""

# Entries of some hundred bytes each. Servers have tens of models.
_MAX_ENTRIES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The measurements of one model.

    Attributes:
        verdict: Result of the probe, before it is adjusted to the config.
        splits: Measured splits of the cores, in order of measurement; () where none was needed.
        latency_mode: Whether the latency session pays; None = not measured.
    """

    verdict: Verdict
    splits: tuple[ThreadAllocation, ...] = ()
    latency_mode: bool | None = None

    @property
    def threads(self) -> int:
        """Intra-op threads of the fastest split."""
        return fastest(self.splits).threads if self.splits else 1


class MeasurementCache:
    """The measurements of the most recently loaded contents. For one thread, the loader's.

    Args:
        max_entries: Most entries; the least recently used one is evicted first.
    """

    __slots__ = ("_entries", "_max_entries")

    def __init__(self, max_entries: int = _MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[ContentKey, Measurements] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: ContentKey) -> Measurements | None:
        """Return the measurements of this content, or None."""
        measurements = self._entries.get(key)
        if measurements is not None:
            self._entries.move_to_end(key)
        return measurements

    def put(self, key: ContentKey, measurements: Measurements) -> None:
        """Store measurements, except for a model that could not be run: it may work next time."""
        if not measurements.verdict.curve:
            return
        self._entries[key] = measurements
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
