"""What was found about a model at load: whether its rows may share a run, what a run costs and where batching pays.

Records and arithmetic only; probe.py measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["MOST_UNREAD_BYTES", "CurvePoint", "Verdict", "best_point", "duration_text"]

MOST_UNREAD_BYTES: Final = 16 * 1024 * 1024
"""Inputs of one run that are read from shared memory because more of them are cheaper. They are read to memory of their
own, which is kept for the next run; beyond 16 pictures of 602 kB nothing was gained (2026-11-26)."""

# A smaller batch is as good where its cost of one row is within 5 % of the lowest: it waits less.
_AS_GOOD_AS: Final = 1.05
# Below a gain of 10 % a row, the wait for a batch to fill and finish costs more than the batch saves.
_WORTH_IT: Final = 0.90
_EFFICIENT: Final = 1.25
# What a batch costs the server besides the run itself: the interpreter around it, and the caches that the model's
# weights have emptied by the time the lane goes on. With an MLP of 6.5 MB the server took 105 us a row in batches of 4,
# 82 us in batches of 16, although a row in the run itself took 32 us in both (2026-11-24).
_HANDLING_S: Final = 80e-6
# And for each byte that is copied because rows share a run: inputs into one array, large outputs out of one. A picture
# of 602 kB that comes alone is read where it lies: the server took 325 us for each in batches of 5 and 307 us for one
# at a time, although the run itself took a row no longer (2026-11-26).
_COPY_S: Final = 0.14e-9
# For each byte that is read from a caller's shared memory, which goes straight to where the run wants it, however many
# rows share that. Such pictures took the server 105 us each alone, 88 in batches of 4 and 65 in batches of 16, of which
# the read was some 40 (2026-11-26).
_READ_S: Final = 0.07e-9

_UNITS: Final = ((1e-6, "us"), (1e-3, "ms"), (1.0, "s"))
# Rounded, these are 1000, 1.0 and 10: the next unit, or one decimal less.
_FOUR_DIGITS: Final = 999.5
_DECIMALS: Final = ((0.995, 2), (9.95, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of the cost curve S(rows).

    Attributes:
        rows: Rows in one run.
        seconds: Time of that run, the lowest of several: what disturbs a measurement only ever adds.
        copied_bytes: Inputs and outputs of the run that the server copies because rows share it.
        input_bytes: All inputs of the run.
    """

    rows: int
    seconds: float
    copied_bytes: int = 0
    input_bytes: int = 0

    @property
    def row_s(self) -> float:
        """Seconds for each row of the run."""
        return self.seconds / self.rows

    @property
    def served_row_s(self) -> float:
        """Seconds for each row of the run and of what the server does around it."""
        return (self.seconds + _HANDLING_S + self.copied_bytes * _COPY_S) / self.rows

    @property
    def unread_row_s(self) -> float:
        """The same where the inputs are read from shared memory, so that it costs them no copy to share the run."""
        copied_bytes = self.copied_bytes - self.input_bytes if self.copied_bytes else 0
        return (self.seconds + _HANDLING_S + copied_bytes * _COPY_S + self.input_bytes * _READ_S) / self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the probe found.

    Attributes:
        batchable: Rows of different requests may share a run.
        reason: One short line for people: why, or why not.
        curve: Measured cost by rows, ascending. Only rows=1 (the model as a whole) where there is no batch axis; empty
            where the model could not be run.
        best_rows: Rows in a run beyond which nothing is gained; 1 where batching does not pay or is not possible; the
            operator's number where the configuration gives one.
        input_shapes: Input -> shape of one row (with the axis of 1) that was measured; empty where nothing ran.
        guessed: Some of these dimensions were chosen, because the model leaves them open: real requests may be far
            larger, so the curve says little about their absolute cost.
    """

    batchable: bool
    reason: str
    curve: tuple[CurvePoint, ...] = ()
    best_rows: int = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    guessed: bool = False

    def tried_rows(self, rows: int) -> int:
        """So many, or the most that were measured: what an operator asks for may be more than there is memory."""
        return min(rows, self.curve[-1].rows) if self.curve else 1

    def efficient_rows(self, most: int) -> int:
        """The smallest measured batch whose row costs at most a quarter more than in the cheapest.

        Args:
            most: Most rows of one run.

        Returns:
            From 1 to ``most``; ``most`` where nothing was measured.
        """
        points = [point for point in self.curve if point.rows <= most]
        if not points:
            return most
        enough_s = min(point.served_row_s for point in points) * _EFFICIENT
        return next(point.rows for point in points if point.served_row_s <= enough_s)

    def unread_rows(self, limit_s: float) -> int:
        """Rows in a run beyond which nothing is gained where their inputs are read from shared memory by the run.

        They take no more than MOST_UNREAD_BYTES.

        Args:
            limit_s: Time of a run; longer ones do not count.

        Returns:
            At least 1, which is that such rows had better run alone.
        """
        points = [point for point in self.curve if point.seconds <= limit_s and point.input_bytes <= MOST_UNREAD_BYTES]
        return best_point(points, attrgetter("unread_row_s")).rows if points else 1

    def within(self, limit_s: float) -> Verdict:
        """The same with no larger batches than end within a time, where their rows cost at most a quarter more.

        Args:
            limit_s: Time of a run.
        """
        most = max((point.rows for point in self.curve if point.seconds <= limit_s), default=0)
        if most < self.efficient_rows(self.best_rows):
            return self
        return replace(self, best_rows=min(self.best_rows, most))

    def seconds(self, rows: int) -> float | None:
        """Estimate the time of one run.

        Args:
            rows: At least 1.

        Returns:
            Seconds: a straight line between measured points; beyond the last, on along the last two, and never less
            than the last. In proportion to the rows where only one point is known. None where nothing was measured.
        """
        if not self.curve:
            return None
        if len(self.curve) == 1:
            return self.curve[0].row_s * rows
        lower, upper = self.curve[0], self.curve[1]
        for point in self.curve[2:]:
            if rows <= upper.rows:
                break
            lower, upper = upper, point
        slope_s = (upper.seconds - lower.seconds) / (upper.rows - lower.rows)
        if rows > upper.rows:
            return upper.seconds + max(0.0, slope_s) * (rows - upper.rows)
        return lower.seconds + slope_s * (rows - lower.rows)


def best_point(
    curve: Sequence[CurvePoint], row_s: Callable[[CurvePoint], float] = attrgetter("served_row_s")
) -> CurvePoint:
    """The smallest batch that is about as cheap a row to serve as any, or the single run where no batch is worth it.

    Args:
        curve: Ascending; begins with the run of one row.
        row_s: What a row costs.
    """
    lowest_s = min(map(row_s, curve))
    best = next(point for point in curve if row_s(point) <= lowest_s * _AS_GOOD_AS)
    return best if row_s(best) <= row_s(curve[0]) * _WORTH_IT else curve[0]


def duration_text(seconds: float) -> str:
    """Seconds for people, in two or three digits: ``0.11 us``, ``6.0 us``, ``310 ms``, ``1.2 s``."""
    value, unit = next(
        (seconds / scale, unit) for scale, unit in _UNITS if seconds / scale < _FOUR_DIGITS or unit == "s"
    )
    decimals = next((decimals for below, decimals in _DECIMALS if value < below), 0)
    return f"{value:.{decimals}f} {unit}"
