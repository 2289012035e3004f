"""Finds out at load whether a model can be batched and what its runs cost, by running it on made-up inputs.

Does not decide how the engine batches: the verdict is advice and a cost curve. Never fails a load: a model that cannot
be probed gets a verdict that says why. Cannot end a run that never ends: whoever owns the session sees to that.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.measuring.synth import recipes
from sardonyx_server.engine.measuring.trial import Refusal, RunFailed, Trial
from sardonyx_server.engine.measuring.verdict import MOST_UNREAD_BYTES, CurvePoint, Verdict, best_point, duration_text
from sardonyx_server.repository.shapes import is_one_row
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sardonyx_server.engine.session import Session
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["CurvePoint", "Verdict", "batch_axis_refusal", "probe"]

_MIB: Final = 1024 * 1024
# Runs timed at each batch size, and the time after which fewer will do: noise matters less where runs are long.
_RUNS: Final = 15
_FEWEST_RUNS: Final = 3
_POINT_S: Final = 0.004
# The cost of a row falls where a doubling lowers it by more than 2 %; after two doublings that do not, none will.
_FALLS: Final = 0.98
_FLAT_DOUBLINGS: Final = 2
# The first rows that are run together; the second time in reverse order, for no sorting leaves both as they are.
_FORWARD: Final = (0, 1)
_BACKWARD: Final = (2, 1, 0)


def probe(
    session: Session,
    *,
    max_rows: int = 64,
    budget_s: float = 0.5,
    clock: Callable[[], float] = time.perf_counter,
    fixed_max_batch: int | None = None,
    max_bytes: int = 64 * _MIB,
) -> Verdict:
    """Run the model on made-up inputs and tell what was found. Warms the session up by the way.

    Blocks the calling thread for about ``budget_s`` at most, the very first run not counted; runs one thing at a time.
    Never raises because of the model.

    Args:
        session: An opened model; stays the caller's.
        max_rows: Rows in a run up to which the cost is measured, >= 1.
        budget_s: Time to spend. What it does not suffice to check is not claimed.
        clock: Seconds, monotonic.
        fixed_max_batch: The operator's max_batch_size, which overrules what was found as far as the graph allows; 0
            forbids batching. None leaves the choice to the probe.
        max_bytes: Inputs and outputs of one run do not take much more than this.

    Returns:
        The verdict.
    """
    limit = max_rows if fixed_max_batch is None else fixed_max_batch
    work = _Probe(session, limit=limit, clock=clock, budget_s=budget_s, max_bytes=max_bytes)
    refusal = batch_axis_refusal(session.inputs, session.outputs)
    if refusal is not None:
        return work.whole(refusal)
    if limit < 1:
        return work.whole("turned off: max_batch_size is 0 in the configuration")
    found, final = work.batched()
    if fixed_max_batch is None or final:
        return found
    link = ":" if found.batchable else ", although"
    reason = f"max_batch_size {fixed_max_batch} by configuration{link} {found.reason}"
    return replace(found, batchable=True, best_rows=fixed_max_batch, reason=reason)


def batch_axis_refusal(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str | None:
    """Why the signature alone rules batching out; None where it does not.

    Rows can be stacked where each required input and each output has a first axis that is left open, and no other axis
    bears its name. An output whose first axis is declared as 1 may have rows all the same: running it shows.
    """
    required = [spec for spec in inputs if not spec.optional]
    if not required:
        return "no input is required, so there is nothing to batch"
    for kind, spec in chain((("input", spec) for spec in required), (("output", spec) for spec in outputs)):
        if spec.shape is None:
            return f"{kind} {quoted(spec.name)} declares no shape"
        if not spec.shape:
            return f"{kind} {quoted(spec.name)} is a scalar"
        if is_one_row(spec.shape):
            if kind == "output":
                continue
            return f"{kind} {quoted(spec.name)} has a first axis fixed to 1"
        if spec.shape[0] >= 0:
            return f"{kind} {quoted(spec.name)} has no dynamic first axis"
        if spec.dim_names and spec.dim_names[0] and spec.dim_names[0] in spec.dim_names[1:]:
            return f"{kind} {quoted(spec.name)} has its first axis {quoted(spec.dim_names[0])} more than once"
    return None


class _Probe:
    """The state of one probe. Used by one thread, once: either ``whole`` or ``batched``."""

    def __init__(
        self, session: Session, *, limit: int, clock: Callable[[], float], budget_s: float, max_bytes: int
    ) -> None:
        self._session = session
        self._limit = limit
        self._clock = clock
        self._budget_s = budget_s
        self._deadline_s = clock() + budget_s
        self._max_bytes = max_bytes
        self._curve: list[CurvePoint] = []

    def whole(self, reason: str) -> Verdict:
        """Time the model as it is, for a reason that rules batching out."""
        try:
            trial = self._begin(batched=False)
            self._time_alone(trial)
        except RunFailed as failed:
            return Verdict(batchable=False, reason=f"{reason}; {_unprobed(failed)}")
        return self._verdict(trial, batchable=False, reason=reason)

    def batched(self) -> tuple[Verdict, bool]:
        """Check that rows do not touch each other, and measure the cost curve.

        Returns:
            (verdict, whether no configuration can overrule it).
        """
        try:
            trial = self._begin(batched=True)
        except RunFailed as failed:
            return Verdict(batchable=False, reason=_unprobed(failed)), False
        try:
            single_s = trial.repeat()
            self._curve.append(CurvePoint(rows=1, seconds=single_s, input_bytes=trial.recipe.row_bytes))
            self._check_few(trial, single_s)
            # Two rows have been run together, but not by the clock: a second point is worth more than a better first.
            self._time_alone(trial, reserve_s=2 * single_s if self._limit > 1 else 0.0)
            self._measure(trial)
        except RunFailed as failed:
            return self._verdict(trial, batchable=False, reason=_unprobed(failed)), False
        except Refusal as refused:
            with suppress(RunFailed):
                self._time_alone(trial)
            return self._verdict(trial, batchable=False, reason=refused.reason), refused.final
        best = best_point(self._curve)
        verdict = self._verdict(trial, batchable=True, reason=_pays(self._curve, best))
        return replace(verdict, best_rows=best.rows), False

    def _begin(self, *, batched: bool) -> Trial:
        """Find inputs that the model takes. Raises RunFailed where there are none."""
        error: RunFailed | None = None
        for recipe in recipes(self._session.inputs, batched=batched, max_bytes=self._max_bytes):
            began_s = self._clock()
            if error is not None and began_s >= self._deadline_s:
                break
            trial = Trial(self._session, recipe, clock=self._clock)
            try:
                trial.apart(0)
            except RunFailed as failed:
                error = error or failed
                continue
            # The first run of a session prepares much: it says nothing about the cost of a run.
            self._deadline_s += self._clock() - began_s
            return trial
        raise error or RunFailed(f"one row of its inputs takes more than {self._max_bytes // _MIB} MiB")

    def _check_few(self, trial: Trial, single_s: float) -> None:
        """Run two rows together, then three in reverse order, against the same rows apart."""
        # One row at a time is safe for any model, but not to cut a request into rows that the answer may not have.
        if self._limit == 1 and not any(is_one_row(spec.shape) for spec in self._session.outputs):
            return
        if not self._affords(3 * single_s):
            took, had = duration_text(single_s), duration_text(self._budget_s)
            raise Refusal(f"not tried: one run takes {took} of the {had} for a probe; set max_batch_size to batch it")
        try:
            trial.check(_FORWARD, compared=range(len(_FORWARD)))
        except RunFailed as failed:
            # One row has just run: it is the second that the graph has no place for.
            raise Refusal(f"its first axis is declared open, but {failed.reason}") from failed
        # What follows is worth less than the cost of two rows, which takes two more.
        if self._limit >= len(_BACKWARD) and self._affords((4 + 2) * single_s):
            trial.check(_BACKWARD, compared=range(len(_BACKWARD)))

    def _measure(self, trial: Trial) -> None:
        """Extend the curve to where the cost of a row stops falling, checking a few rows at each size."""
        flat = 0
        lowest_s, lowest_unread_s = self._curve[0].served_row_s, self._curve[0].unread_row_s
        checked = [0, 1]
        for rows in _doublings(self._limit):
            last = self._curve[-1]
            expected_s = last.seconds * rows / last.rows
            is_new = not trial.was_checked(rows)
            if trial.run_bytes(rows) > self._max_bytes or not self._affords(expected_s * (2 if is_new else 1)):
                return
            try:
                if is_new:
                    checked.append(rows - 1)
                    trial.check(range(rows), compared=checked)
                point = self._point(trial, rows)
            except RunFailed:
                # So many rows are too many, for the memory perhaps: the sizes before have worked.
                return
            self._curve.append(point)
            falls = point.served_row_s < lowest_s * _FALLS or (
                point.unread_row_s < lowest_unread_s * _FALLS and 2 * point.input_bytes <= MOST_UNREAD_BYTES
            )
            flat = 0 if falls else flat + 1
            lowest_s = min(lowest_s, point.served_row_s)
            lowest_unread_s = min(lowest_unread_s, point.unread_row_s)
            if flat == _FLAT_DOUBLINGS:
                return

    def _time_alone(self, trial: Trial, *, reserve_s: float = 0.0) -> None:
        """Put the cost of one row at the head of the curve, better measured than by the one run that may be there."""
        took_s = [point.seconds for point in self._curve[:1]]
        self._curve[:1] = [self._point(trial, 1, took_s=took_s, reserve_s=reserve_s)]

    def _point(self, trial: Trial, rows: int, *, took_s: Sequence[float] = (), reserve_s: float = 0.0) -> CurvePoint:
        """Time a batch size several times, ``took_s`` included; at least once. Leave ``reserve_s`` of the budget."""
        runs = list(took_s) or [trial.time(rows)]
        while len(runs) < _FEWEST_RUNS or (len(runs) < _RUNS and sum(runs) < _POINT_S):
            if not self._affords(min(runs) + reserve_s):
                break
            runs.append(trial.time(rows))
        return CurvePoint(
            rows=rows,
            seconds=min(runs),
            copied_bytes=trial.copied_bytes(rows),
            input_bytes=rows * trial.recipe.row_bytes,
        )

    def _affords(self, cost_s: float) -> bool:
        return self._clock() + cost_s <= self._deadline_s

    def _verdict(self, trial: Trial, *, batchable: bool, reason: str) -> Verdict:
        return Verdict(
            batchable=batchable,
            reason=reason,
            curve=tuple(self._curve),
            input_shapes=trial.recipe.input_shapes,
            guessed=trial.recipe.guessed,
        )


def _doublings(limit: int) -> Iterator[int]:
    """2, 4, 8, ... and the limit itself."""
    rows = 2
    while rows < limit:
        yield rows
        rows *= 2
    if limit > 1:
        yield limit


def _unprobed(failed: RunFailed) -> str:
    return f"could not be probed: {failed.reason}"


def _pays(curve: Sequence[CurvePoint], best: CurvePoint) -> str:
    """The line for people about a model whose rows do not touch each other."""
    alone = duration_text(curve[0].seconds)
    if best.rows > 1:
        # Else a reader would wonder: a row in a batch may take as long as one alone, and the batch is handled once.
        spares = "" if best.row_s < curve[0].seconds else ", for what it spares around a run"
        return f"pays to {best.rows} rows{spares}: {alone} alone, {duration_text(best.row_s)} a row"
    if len(curve) == 1:
        return f"not measured in batches: {alone} alone"
    tried = min(curve[1:], key=lambda point: point.row_s)
    return f"does not pay: {alone} a row alone, {duration_text(tried.row_s)} in {tried.rows}"
