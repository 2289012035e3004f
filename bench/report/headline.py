"""The README's figures: our own latencies, a summary of the peers, and the number of missed bars.

Their details are on the page that ``prose.py`` renders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bench.report.archive import Bars, name_of
from bench.report.markdown import paragraph
from bench.report.peer_tables import peer_summary, processors
from bench.report.points import OURS
from bench.report.prose import latencies
from bench.report.verdicts import State, verdicts
from bench.store import Run

__all__ = ["headline"]

# From the README.
_PAGE: Final = "docs/performance.md"
_DATE_LETTERS: Final = 10


def headline(results: Sequence[Bars | Run]) -> str:
    """Markdown that ends with a newline; "" if there are no results.

    Args:
        results: All stored runs.
    """
    parts = [part for result in results if isinstance(result, Run) for part in _of_run(result)]
    if results:
        parts.append(
            paragraph(_missed(results), f"[Performance]({_PAGE}) has all of them, those that are missed first.")
        )
    return "\n\n".join(part for part in parts if part) + "\n" if parts else ""


def _of_run(run: Run) -> Iterator[str]:
    own = latencies(run)
    others = peer_summary([one for one in verdicts(run) if one.benchmark.server != OURS])
    if own or others:
        yield paragraph(
            f"`{_verb(run)}` on {processors(run)}, {run.cores} cores shared by servers and callers,",
            f"{run.started[:_DATE_LETTERS]}{', a quick run' if run.quick else ''}:",
        )
        yield own
        yield others


def _missed(results: Sequence[Bars | Run]) -> str:
    """Numbers of bars that are not met: missed, not proven, or not measured."""
    told = []
    for result in results:
        if isinstance(result, Bars):
            met = [one.verdict == "pass" for one in result.outcomes]
        else:
            met = [one.state == State.MET for one in verdicts(result)]
        told.append(f"{met.count(False)} of the {len(met)} bars of `{_verb(result)}`")
    *first, last = told
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"{listed} are missed, or the run does not prove that they are met."


def _verb(result: Bars | Run) -> str:
    name = name_of(result)
    return "make bench" if name == "suite" else f"make bench-{name}"
