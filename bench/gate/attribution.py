"""Attribution of a regression: which stage of a request has grown, by both servers' own times.

A slower run makes every request behind it wait longer, and at half load the waiting grows by more than the run. So the
queue is named as the cause only if no stage that does work has grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.bootstrap import Interval, difference
from bench.store import Point

__all__ = ["STAGES", "StageGrowth", "explain", "grown_stages"]

STAGES: Final = ("transport", "decode", "queue", "gather", "run", "encode")
"""Keys of ``Point.stages_us``, in the order of a request. Transport is the time outside the server's own clock."""

_QUEUE: Final = "queue"
# Least growth as a share of the mean latency: less cannot explain a p99 that has grown by a tenth.
_LEAST_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class StageGrowth:
    """A stage whose mean time has changed.

    Attributes:
        stage: One of :data:`STAGES`.
        before_us: Mean time for each request, median over the repeats.
        after_us: Median over the repeats after.
        by_us: The difference and its interval.
    """

    stage: str
    before_us: float
    after_us: float
    by_us: Interval

    def __str__(self) -> str:
        return f"{self.stage} by {self.by_us.centre:,.0f} us ({self.before_us:,.0f} -> {self.after_us:,.0f})"


def grown_stages(
    before: Sequence[Point], after: Sequence[Point], *, seed: int, starts: Sequence[int] = ()
) -> tuple[StageGrowth, ...]:
    """Stages that have grown significantly and by a relevant amount, largest growth first.

    Args:
        before: One point for each repeat.
        after: The points of the second server, of the same repeats.
        seed: Seed of the resampling.
        starts: For each repeat, the number of the server start; see :func:`bench.bootstrap.difference`.
    """
    least_us = _LEAST_SHARE * median(point.mean_ms for point in before) * 1000
    found = []
    for stage in STAGES:
        ones, others = _times(after, stage), _times(before, stage)
        by_us = difference(ones, others, seed=seed, starts=starts)
        if by_us.low > 0 and by_us.centre >= least_us:
            found.append(StageGrowth(stage=stage, before_us=median(others), after_us=median(ones), by_us=by_us))
    return tuple(sorted(found, key=lambda growth: -growth.by_us.centre))


def explain(grown: Sequence[StageGrowth]) -> str:
    """A sentence that names the cause."""
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
