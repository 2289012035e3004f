"""Puts a page together: what is on it in which order, and the template that writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.drawing import drawings, key
from bench.report.figures import callers, everything, history, ladder, overload, phases, stages
from bench.report.history import Entry
from bench.report.looks import Look
from bench.report.plot import Figure, Lines, Section
from bench.report.verdicts import State, verdicts
from bench.store import Run

__all__ = ["page", "sections"]

_FOLDER: Final = Path(__file__).parent
_SECTIONS: Final = (
    ladder.latencies,
    ladder.curves,
    callers.throughput,
    overload.goodput,
    phases.reload,
    phases.neighbours,
    phases.storms,
    phases.large,
    stages.stages,
)
_SCENARIOS: Final = {
    "latency": "ladder",
    "percentiles": "ladder",
    "stages": "ladder",
    "throughput": "closed",
}
"""Section -> the scenario it shows, where they are not called the same."""


def page(run: Run, past: Sequence[Entry] = ()) -> str:
    """The whole page, as text.

    Args:
        run: That it shows.
        past: Earlier ones, for p99 over history.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    judged = verdicts(run)
    return environment.get_template("page.html.jinja").render(
        run=run,
        style=Markup((_FOLDER / "page.css").read_text("utf-8")),  # noqa: S704  # our own file
        sections=sections(run, past),
        verdicts=judged,
        counts=Counter(verdict.state for verdict in judged),
        states=list(State),
        points=sum(len(one.points) for one in run.benchmarks),
        invalid=sum(not point.valid for one in run.benchmarks for point in one.points),
        drawings=_drawings,
        key=_key,
    )


def sections(run: Run, past: Sequence[Entry] = ()) -> Sequence[Section]:
    """All parts with plots; those without say what was not run."""
    found = [section(run) for section in _SECTIONS]
    told = [section if section.figures else replace(section, missing=_missing(section)) for section in found]
    return [*told, history.history(past), everything.everything(run)]


def _missing(section: Section) -> str:
    """In words; the command stands in backticks."""
    scenario = _SCENARIOS.get(section.key, section.key)
    return f'make bench ARGS="-k {scenario}"'


def _drawings(figure: Figure) -> list[Markup]:
    return [Markup(drawing) for drawing in drawings(figure)]  # noqa: S704  # escaped by the writer of XML


def _key(look: Look, figure: Figure) -> Markup:
    return Markup(key(look, mark=isinstance(figure.plot, Lines)))  # noqa: S704  # likewise
