"""Which stage of a request has grown, from the times that both servers count themselves. Measures nothing.

A slower run makes every request behind it wait longer, and at half load the wait grows by more than the run. So the
queue is named as the cause only where no stage that does work has grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.bootstrap import Interval, difference
from bench.store import Point

__all__ = ["STAGES", "Growth", "explained", "growths"]

STAGES: Final = ("transport", "decode", "queue", "gather", "run", "encode")
"""Keys of ``Point.stages_us``, on the way of a request. Transport is what lies outside of the server's own clock."""

_QUEUE: Final = "queue"
# Of the mean latency. Less is no reason for a p99 that has grown by a tenth.
_LEAST_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A stage whose mean time has changed.

    Attributes:
        stage: One of :data:`STAGES`.
        before_us: Mean time for each request, median over the repeats.
        after_us: Likewise.
        by_us: The difference and its interval.
    """

    stage: str
    before_us: float
    after_us: float
    by_us: Interval

    def __str__(self) -> str:
        return f"{self.stage} by {self.by_us.centre:,.0f} us ({self.before_us:,.0f} -> {self.after_us:,.0f})"


def growths(
    before: Sequence[Point], after: Sequence[Point], *, seed: int, starts: Sequence[int] = ()
) -> tuple[Growth, ...]:
    """Stages that have grown beyond chance and by enough to matter, the one that grew most first.

    Args:
        before: One point for each repeat.
        after: Those of the same repeats.
        seed: Of the resampling.
        starts: Of each repeat, which start of the servers it is of; see :func:`bench.bootstrap.difference`.
    """
    least_us = _LEAST_SHARE * median(point.mean_ms for point in before) * 1000
    found = []
    for stage in STAGES:
        ones, others = _times(after, stage), _times(before, stage)
        by_us = difference(ones, others, seed=seed, starts=starts)
        if by_us.low > 0 and by_us.centre >= least_us:
            found.append(Growth(stage=stage, before_us=median(others), after_us=median(ones), by_us=by_us))
    return tuple(sorted(found, key=lambda growth: -growth.by_us.centre))


def explained(grown: Sequence[Growth]) -> str:
    """A sentence on which stage is the cause."""
    work = [growth for growth in grown if growth.stage != _QUEUE]
    wait = [growth for growth in grown if growth.stage == _QUEUE]
    if work:
        wake = f"; in its wake {wait[0]}" if wait else ""
        return f"grew: {', '.join(map(str, work))}{wake}"
    if wait:
        return f"grew: {wait[0]}, and no stage that does work: how requests wait or are batched has changed"
    return "no stage grew in the mean beyond chance: only the slowest requests did"


def _times(points: Sequence[Point], stage: str) -> list[float]:
    return [(point.stages_us or {}).get(stage, 0.0) for point in points]
