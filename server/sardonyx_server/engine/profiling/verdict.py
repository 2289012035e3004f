"""Result of the batching probe: whether rows may share a run, the cost curve, and the batch size at which it pays.

Records and arithmetic only; probe.py measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["MAX_DEFERRED_READ_BYTES", "CurvePoint", "Verdict", "best_point", "duration_text"]

MAX_DEFERRED_READ_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of deferred reads in a batch that is formed because a row is then cheaper. They are read into a buffer
that is kept for the next run; beyond 16 images of 602 kB nothing was gained (2026-11-26)."""

# A smaller batch is preferred where its cost of a row is within 5 % of the lowest, because it fills sooner.
_NEAR_BEST: Final = 1.05
# Where batching saves less than 10 % of the cost of a row, waiting for a batch to fill and finish costs more than that.
_MAX_COST_RATIO: Final = 0.90
_EFFICIENT: Final = 1.25
# Cost of a batch to the server apart from the run: Python around it, and CPU caches evicted by the model's weights.
# With an MLP of 6.5 MB the server took 105 us a row in batches of 4 and 82 us in batches of 16, although the run itself
# took 32 us a row in both cases (2026-11-24).
_BATCH_OVERHEAD_S: Final = 80e-6
# Cost of each byte that is copied because rows share a run: inputs into one array, large outputs out of one. An image
# of 602 kB that runs alone is not copied: the server took 325 us for each in batches of 5 and 307 us for one at a time,
# although the run itself took no longer for a row (2026-11-26).
_COPY_S_PER_BYTE: Final = 0.14e-9
# Cost of each byte of a deferred read, which goes from the caller's shared memory directly to the input array, for any
# batch size. Such images took the server 105 us each alone, 88 us in batches of 4 and 65 us in batches of 16, of which
# the read was about 40 us (2026-11-26).
_READ_S_PER_BYTE: Final = 0.07e-9

_UNITS: Final = ((1e-6, "us"), (1e-3, "ms"), (1.0, "s"))
# Values from which rounding gives 1000, 1.0 or 10, so that the next unit or one decimal less is used.
_FOUR_DIGITS: Final = 999.5
_DECIMALS: Final = ((0.995, 2), (9.95, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of the cost curve S(rows).

    Attributes:
        rows: Rows in one run.
        seconds: Time of that run, the lowest of several: disturbance only ever adds time.
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
        """Seconds for each row, including the overhead of the server around the run."""
        return (self.seconds + _BATCH_OVERHEAD_S + self.copied_bytes * _COPY_S_PER_BYTE) / self.rows

    @property
    def deferred_read_row_s(self) -> float:
        """Like :attr:`served_row_s`, for inputs that are deferred reads, which are not copied to be batched."""
        copied_bytes = self.copied_bytes - self.input_bytes if self.copied_bytes else 0
        return (
            self.seconds + _BATCH_OVERHEAD_S + copied_bytes * _COPY_S_PER_BYTE + self.input_bytes * _READ_S_PER_BYTE
        ) / self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Result of the probe.

    Attributes:
        batchable: Whether rows of different requests may share a run.
        reason: One short line for people: why, or why not.
        curve: Measured cost by rows, ascending. Only rows=1 (the model as a whole) without a batch axis; empty where
            the model could not be run.
        best_rows: Batch size beyond which nothing is gained; 1 where batching does not pay or is not possible; the
            operator's number where the configuration gives one.
        input_shapes: Input name -> measured shape of one row, including the axis of 1; empty where nothing ran.
        guessed: Whether some of these dimensions are guesses, because the model leaves them open. Real requests may be
            far larger, so the curve says little about their absolute cost.
    """

    batchable: bool
    reason: str
    curve: tuple[CurvePoint, ...] = ()
    best_rows: int = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    guessed: bool = False

    def measured_rows(self, rows: int) -> int:
        """Cap ``rows`` at the largest measured batch: an operator may configure more than fits into memory."""
        return min(rows, self.curve[-1].rows) if self.curve else 1

    def efficient_rows(self, limit: int) -> int:
        """The smallest measured batch in which a row costs at most 25 % more than in the cheapest.

        Args:
            limit: Most rows of one run.

        Returns:
            From 1 to ``limit``; ``limit`` where nothing was measured.
        """
        points = [point for point in self.curve if point.rows <= limit]
        if not points:
            return limit
        enough_s = min(point.served_row_s for point in points) * _EFFICIENT
        return next(point.rows for point in points if point.served_row_s <= enough_s)

    def deferred_read_rows(self, limit_s: float) -> int:
        """Batch size beyond which nothing is gained with deferred reads, of at most MAX_DEFERRED_READ_BYTES.

        Args:
            limit_s: Longest run to consider.

        Returns:
            At least 1, which means that such rows should run alone.
        """
        points = [
            point for point in self.curve if point.seconds <= limit_s and point.input_bytes <= MAX_DEFERRED_READ_BYTES
        ]
        return best_point(points, attrgetter("deferred_read_row_s")).rows if points else 1

    def within(self, limit_s: float) -> Verdict:
        """Limit ``best_rows`` to batches that run within a time, if a row then costs at most 25 % more.

        Args:
            limit_s: Longest run.
        """
        max_rows = max((point.rows for point in self.curve if point.seconds <= limit_s), default=0)
        if max_rows < self.efficient_rows(self.best_rows):
            return self
        return replace(self, best_rows=min(self.best_rows, max_rows))

    def seconds(self, rows: int) -> float | None:
        """Estimate the time of one run.

        Args:
            rows: At least 1.

        Returns:
            Seconds, interpolated linearly between measured points; beyond the last, extrapolated from the last two, but
            never less than the last. Proportional to the rows where there is one point. None where nothing was
            measured.
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
    """Return the smallest batch whose cost of a row is close to the lowest, or the single row if no batch pays.

    Args:
        curve: Ascending; starts with the run of one row.
        row_s: Cost of a row at a point.
    """
    lowest_s = min(map(row_s, curve))
    best = next(point for point in curve if row_s(point) <= lowest_s * _NEAR_BEST)
    return best if row_s(best) <= row_s(curve[0]) * _MAX_COST_RATIO else curve[0]


def duration_text(seconds: float) -> str:
    """Format a duration with two or three digits: ``0.11 us``, ``6.0 us``, ``310 ms``, ``1.2 s``."""
    value, unit = next(
        (seconds / scale, unit) for scale, unit in _UNITS if seconds / scale < _FOUR_DIGITS or unit == "s"
    )
    decimals = next((decimals for below, decimals in _DECIMALS if value < below), 0)
    return f"{value:.{decimals}f} {unit}"
