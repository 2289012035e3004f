"""Makes the floors of a series of rates consistent with the measurements. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.store import Point

__all__ = ["consistent_floors"]


def consistent_floors(points: Sequence[Point]) -> list[Point]:
    """Lower the floors that measurements contradict; a floor that is too high would make a bar too easy.

    No floor may exceed that of a higher rate, because then the echo was disturbed. And none may exceed a p99 of the
    server itself at that rate or a higher one, because that would not be a lower bound. So no ratio to a floor is below
    1.

    Args:
        points: Points of ascending rates.
    """
    found: list[Point] = []
    floor_ms: float | None = None
    reached_ms = float("inf")
    for point in reversed(points):
        floor_ms = min((each for each in (point.floor_p99_ms, floor_ms) if each is not None), default=None)
        if point.valid and point.answered:
            reached_ms = min(reached_ms, point.p99_ms)
        found.append(replace(point, floor_p99_ms=None if floor_ms is None else min(floor_ms, reached_ms)))
    return found[::-1]
