"""Floors of a ladder of rates, without what the ladder itself refutes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.store import Point

__all__ = ["refuted"]


def refuted(points: Sequence[Point]) -> list[Point]:
    """Points with floors that contradict nothing; one that is too high makes a bar easy.

    No floor is above one at a higher rate: the echo was disturbed. And none is above a p99 that the server itself had
    at that rate or a higher one: what has been gone below is no floor. So no ratio to a floor is below 1.

    Args:
        points: Of ascending rates.
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
