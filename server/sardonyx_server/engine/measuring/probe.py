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

from sardonyx_server.engine.measuring.curve import Curve
from sardonyx_server.engine.measuring.stopwatch import Stopwatch
from sardonyx_server.engine.measuring.synth import recipes
from sardonyx_server.engine.measuring.trial import Refusal, RunFailed, Trial
from sardonyx_server.engine.measuring.verdict import CurvePoint, Verdict, best_point, duration_text
from sardonyx_server.repository.shapes import is_one_row
from sardonyx_server.runtime.own_time import own_time
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.own_time import OwnTime
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["CurvePoint", "Verdict", "batch_axis_refusal", "probe"]

_MIB: Final = 1024 * 1024
# The first rows that are run together; the second time in reverse order, for no sorting leaves both as they are.
_FORWARD: Final = (0, 1)
_BACKWARD: Final = (2, 1, 0)


def probe(
    session: Session,
    *,
    max_rows: int = 64,
    budget_s: float = 0.5,
    clock: Callable[[], float] = time.perf_counter,
    own: OwnTime = own_time,
    fixed_max_batch: int | None = None,
    max_bytes: int = 64 * _MIB,
) -> Verdict:
    """Run the model on made-up inputs and tell what was found. Warms the session up by the way.

    Blocks the calling thread for about ``budget_s`` at most, the very first run not counted; up to four times as long
    where others take its core. Runs one thing at a time. Never raises because of the model.

    Args:
        session: An opened model; stays the caller's.
        max_rows: Rows in a run up to which the cost is measured, >= 1.
        budget_s: Time to spend. What it does not suffice to check is not claimed.
        clock: Seconds, monotonic.
        own: What the calling thread has had of a core.
        fixed_max_batch: The operator's max_batch_size, which overrules what was found as far as the graph allows; 0
            forbids batching. None leaves the choice to the probe.
        max_bytes: Inputs and outputs of one run do not take much more than this.

    Returns:
        The verdict.
    """
    limit = max_rows if fixed_max_batch is None else fixed_max_batch
    stopwatch = Stopwatch(session, clock=clock, own=own, budget_s=budget_s)
    work = _Probe(session, limit=limit, stopwatch=stopwatch, max_bytes=max_bytes)
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

    def __init__(self, session: Session, *, limit: int, stopwatch: Stopwatch, max_bytes: int) -> None:
        self._session = session
        self._limit = limit
        self._stopwatch = stopwatch
        self._max_bytes = max_bytes

    def whole(self, reason: str) -> Verdict:
        """Time the model as it is, for a reason that rules batching out."""
        try:
            trial = self._begin(batched=False)
            curve = self._curve(trial)
            curve.time_alone()
        except RunFailed as failed:
            return Verdict(batchable=False, reason=f"{reason}; {_unprobed(failed)}")
        return _verdict(trial, curve, batchable=False, reason=reason)

    def batched(self) -> tuple[Verdict, bool]:
        """Check that rows do not touch each other, and measure the cost curve.

        Returns:
            (verdict, whether no configuration can overrule it).
        """
        try:
            trial = self._begin(batched=True)
        except RunFailed as failed:
            return Verdict(batchable=False, reason=_unprobed(failed)), False
        curve = self._curve(trial)
        try:
            single_s = trial.repeat()
            curve.begin(single_s)
            self._check_few(trial, single_s)
            # Two rows have been run together, but not by the clock: a second point is worth more than a better first.
            curve.time_alone(reserve_s=2 * single_s if self._limit > 1 else 0.0)
            curve.extend()
        except RunFailed as failed:
            return _verdict(trial, curve, batchable=False, reason=_unprobed(failed)), False
        except Refusal as refused:
            with suppress(RunFailed):
                curve.time_alone()
            return _verdict(trial, curve, batchable=False, reason=refused.reason), refused.final
        best = best_point(curve.points)
        verdict = _verdict(trial, curve, batchable=True, reason=_pays(curve.points, best))
        return replace(verdict, best_rows=best.rows), False

    def _curve(self, trial: Trial) -> Curve:
        return Curve(trial, self._stopwatch, limit=self._limit, max_bytes=self._max_bytes)

    def _begin(self, *, batched: bool) -> Trial:
        """Find inputs that the model takes. Raises RunFailed where there are none."""
        error: RunFailed | None = None
        for recipe in recipes(self._session.inputs, batched=batched, max_bytes=self._max_bytes):
            left_s = self._stopwatch.left_s
            if error is not None and left_s <= 0:
                break
            trial = Trial(self._session, recipe, stopwatch=self._stopwatch)
            try:
                trial.apart(0)
            except RunFailed as failed:
                error = error or failed
                continue
            # The first run of a session prepares much: it says nothing about the cost of a run.
            self._stopwatch.grant(left_s - self._stopwatch.left_s)
            return trial
        raise error or RunFailed(f"one row of its inputs takes more than {self._max_bytes // _MIB} MiB")

    def _check_few(self, trial: Trial, single_s: float) -> None:
        """Run two rows together, then three in reverse order, against the same rows apart."""
        # One row at a time is safe for any model, but not to cut a request into rows that the answer may not have.
        if self._limit == 1 and not any(is_one_row(spec.shape) for spec in self._session.outputs):
            return
        if not self._stopwatch.affords(3 * single_s):
            took, had = duration_text(single_s), duration_text(self._stopwatch.budget_s)
            raise Refusal(f"not tried: one run takes {took} of the {had} for a probe; set max_batch_size to batch it")
        try:
            trial.check(_FORWARD, compared=range(len(_FORWARD)))
        except RunFailed as failed:
            # One row has just run: it is the second that the graph has no place for.
            raise Refusal(f"its first axis is declared open, but {failed.reason}") from failed
        # What follows is worth less than the cost of two rows, which takes two more.
        if self._limit >= len(_BACKWARD) and self._stopwatch.affords((4 + 2) * single_s):
            trial.check(_BACKWARD, compared=range(len(_BACKWARD)))


def _verdict(trial: Trial, curve: Curve, *, batchable: bool, reason: str) -> Verdict:
    return Verdict(
        batchable=batchable,
        reason=reason,
        curve=tuple(curve.points),
        input_shapes=trial.recipe.input_shapes,
        guessed=trial.recipe.guessed,
    )


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
