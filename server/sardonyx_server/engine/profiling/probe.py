"""The batching probe: determines at load whether a model can be batched and what its runs cost, on synthetic inputs.

It does not decide how the engine batches: the verdict is advice and a cost curve. It never fails a load: a model that
cannot be probed gets a verdict that says why. It does not limit the time of a run: the owner of the session does.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.profiling.cost_curve import CostCurve
from sardonyx_server.engine.profiling.run_timer import RunTimer
from sardonyx_server.engine.profiling.synthetic_inputs import recipes
from sardonyx_server.engine.profiling.trial import ProbeRefusal, RunFailed, Trial
from sardonyx_server.engine.profiling.verdict import CurvePoint, Verdict, best_point, duration_text
from sardonyx_server.repository.shapes import is_one_row
from sardonyx_server.runtime.thread_cpu_time import thread_cpu_time
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.thread_cpu_time import ReadThreadCpuTime
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["CurvePoint", "Verdict", "batch_axis_refusal", "probe"]

_MIB: Final = 1024 * 1024
# Batches of the first equivalence checks. The second is in reverse order: a model that sorts rows changes one of them.
_FORWARD: Final = (0, 1)
_BACKWARD: Final = (2, 1, 0)


def probe(
    session: Session,
    *,
    max_rows: int = 64,
    budget_s: float = 0.5,
    clock: Callable[[], float] = time.perf_counter,
    own: ReadThreadCpuTime = thread_cpu_time,
    fixed_max_batch: int | None = None,
    max_bytes: int = 64 * _MIB,
) -> Verdict:
    """Run the model on synthetic inputs and return the verdict. This also warms up the session.

    Blocks the calling thread for about ``budget_s`` at most, not counting the first run; up to four times as long where
    other processes use its core. Makes one run at a time. Never raises because of the model.

    Args:
        session: An opened model; owned by the caller.
        max_rows: Largest batch to measure, >= 1.
        budget_s: Time to spend. The verdict claims nothing that could not be checked in this time.
        clock: Seconds, monotonic.
        own: CPU time of the calling thread.
        fixed_max_batch: The operator's max_batch_size, which overrides the probe as far as the graph allows; 0 disables
            batching. None leaves the choice to the probe.
        max_bytes: Approximate limit on the inputs and outputs of one run.

    Returns:
        The verdict.
    """
    limit = max_rows if fixed_max_batch is None else fixed_max_batch
    timer = RunTimer(session, clock=clock, own=own, budget_s=budget_s)
    work = _Probe(session, limit=limit, timer=timer, max_bytes=max_bytes)
    refusal = batch_axis_refusal(session.inputs, session.outputs)
    if refusal is not None:
        return work.measure_unbatched(refusal)
    if limit < 1:
        return work.measure_unbatched("turned off: max_batch_size is 0 in the configuration")
    found, final = work.measure_batched()
    if fixed_max_batch is None or final:
        return found
    link = ":" if found.batchable else ", although"
    reason = f"max_batch_size {fixed_max_batch} by configuration{link} {found.reason}"
    return replace(found, batchable=True, best_rows=fixed_max_batch, reason=reason)


def batch_axis_refusal(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str | None:
    """Return why the signature alone rules out batching; None if it does not.

    Batching is possible if each required input and each output has a dynamic first axis whose name no other axis has.
    An output whose first axis is declared as 1 may have rows all the same, which shows when the model is run.
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
    """The state of one probe. Used by one thread, once: one of the two ``measure`` methods is called."""

    def __init__(self, session: Session, *, limit: int, timer: RunTimer, max_bytes: int) -> None:
        self._session = session
        self._limit = limit
        self._timer = timer
        self._max_bytes = max_bytes

    def measure_unbatched(self, reason: str) -> Verdict:
        """Time single runs, for a model that cannot be batched for the given reason."""
        try:
            trial = self._begin(batched=False)
            curve = self._curve(trial)
            curve.time_single_row()
        except RunFailed as failed:
            return Verdict(batchable=False, reason=f"{reason}; {_unprobed(failed)}")
        return _verdict(trial, curve, batchable=False, reason=reason)

    def measure_batched(self) -> tuple[Verdict, bool]:
        """Check that rows are independent of each other, and measure the cost curve.

        Returns:
            (verdict, whether no configuration can override it).
        """
        try:
            trial = self._begin(batched=True)
        except RunFailed as failed:
            return Verdict(batchable=False, reason=_unprobed(failed)), False
        curve = self._curve(trial)
        try:
            single_s = trial.repeat()
            curve.add_first(single_s)
            self._check_few(trial, single_s)
            # Two rows have been run together, but not timed: a second point is worth more than a better first one.
            curve.time_single_row(reserve_s=2 * single_s if self._limit > 1 else 0.0)
            curve.extend()
        except RunFailed as failed:
            return _verdict(trial, curve, batchable=False, reason=_unprobed(failed)), False
        except ProbeRefusal as refused:
            with suppress(RunFailed):
                curve.time_single_row()
            return _verdict(trial, curve, batchable=False, reason=refused.reason), refused.final
        best = best_point(curve.points)
        verdict = _verdict(trial, curve, batchable=True, reason=_pays(curve.points, best))
        return replace(verdict, best_rows=best.rows), False

    def _curve(self, trial: Trial) -> CostCurve:
        return CostCurve(trial, self._timer, limit=self._limit, max_bytes=self._max_bytes)

    def _begin(self, *, batched: bool) -> Trial:
        """Find inputs that the model accepts. Raises RunFailed if there are none."""
        error: RunFailed | None = None
        for recipe in recipes(self._session.inputs, batched=batched, max_bytes=self._max_bytes):
            left_s = self._timer.left_s
            if error is not None and left_s <= 0:
                break
            trial = Trial(self._session, recipe, timer=self._timer)
            try:
                trial.run_alone(0)
            except RunFailed as failed:
                error = error or failed
                continue
            # The first run of a session initialises it, and says nothing about the cost of a run: do not charge it.
            self._timer.grant(left_s - self._timer.left_s)
            return trial
        raise error or RunFailed(f"one row of its inputs takes more than {self._max_bytes // _MIB} MiB")

    def _check_few(self, trial: Trial, single_s: float) -> None:
        """Compare a batch of two rows, then one of three in reverse order, with the same rows run alone."""
        # Single rows are safe for any model, but splitting a request into rows is not if an output may not have them.
        if self._limit == 1 and not any(is_one_row(spec.shape) for spec in self._session.outputs):
            return
        if not self._timer.affords(3 * single_s):
            took, had = duration_text(single_s), duration_text(self._timer.budget_s)
            raise ProbeRefusal(
                f"not tried: one run takes {took} of the {had} for a probe; set max_batch_size to batch it"
            )
        try:
            trial.check(_FORWARD, compared=range(len(_FORWARD)))
        except RunFailed as failed:
            # A single row has just worked, so the graph does not accept a second one.
            raise ProbeRefusal(f"its first axis is declared open, but {failed.reason}") from failed
        # The second check is worth less than the cost of two rows, whose measurement takes two more runs.
        if self._limit >= len(_BACKWARD) and self._timer.affords((4 + 2) * single_s):
            trial.check(_BACKWARD, compared=range(len(_BACKWARD)))


def _verdict(trial: Trial, curve: CostCurve, *, batchable: bool, reason: str) -> Verdict:
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
    """Return the line for people about a model with independent rows."""
    alone = duration_text(curve[0].seconds)
    if best.rows > 1:
        # Explain the case that a row in a batch takes as long as one alone: the overhead is paid once for the batch.
        spares = "" if best.row_s < curve[0].seconds else ", for what it spares around a run"
        return f"pays to {best.rows} rows{spares}: {alone} alone, {duration_text(best.row_s)} a row"
    if len(curve) == 1:
        return f"not measured in batches: {alone} alone"
    tried = min(curve[1:], key=lambda point: point.row_s)
    return f"does not pay: {alone} a row alone, {duration_text(tried.row_s)} in {tried.rows}"
