"""Assembles the report: its sections in order, rendered by the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.drawing import drawings, key
from bench.report.figures import all_benchmarks, history, latency, overload, percentiles, phases, stages, throughput
from bench.report.history import Entry
from bench.report.interval_chart import interval_chart
from bench.report.peer_tables import processors
from bench.report.plot import Figure, Lines, Section
from bench.report.styles import Style
from bench.report.verdicts import State, Verdict, verdicts
from bench.store import Run

__all__ = ["page", "sections"]

_FOLDER: Final = Path(__file__).parent
# What is not run is named with the benchmark that would fill it.
_SECTIONS: Final = (
    (latency.latencies, "test_p99_at_half_load"),
    (percentiles.curves, "test_p99_at_half_load"),
    (throughput.throughput, "test_rate_of_1_to_64_callers"),
    (overload.goodput, "test_goodput_at_five_times_capacity"),
    (phases.reload, "test_p99_during_reload"),
    (phases.neighbours, "test_p99_of_a_cheap_model_beside_a_heavy_one"),
    (phases.shapes, "test_p99_of_mixed_shapes"),
    (phases.storms, "test_p99_after_a_cancel_storm"),
    (phases.large, "test_rate_of_large_tensors"),
    (stages.stages, "test_p99_at_half_load"),
)


def page(run: Run, past: Sequence[Entry] = ()) -> str:
    """The whole page, as text.

    Args:
        run: The run to show.
        past: Earlier records, for p99 over releases.
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
        commits=len({one.commit or run.commit for one in run.benchmarks}),
        processors=processors(run),
        points=sum(len(one.points) for one in run.benchmarks),
        invalid=sum(not point.valid for one in run.benchmarks for point in one.points),
        drawings=_drawings,
        key=_key,
        interval_chart=_interval_chart,
    )


def sections(run: Run, past: Sequence[Entry] = ()) -> Sequence[Section]:
    """All sections; those without plots name the command that runs them."""
    found = [(section(run), benchmark) for section, benchmark in _SECTIONS]
    told = [
        section if section.figures else replace(section, missing=f'make bench ARGS="--only {benchmark}"')
        for section, benchmark in found
    ]
    return [*told, history.history(past), all_benchmarks.all_benchmarks(run)]


def _drawings(figure: Figure) -> list[Markup]:
    return [Markup(drawing) for drawing in drawings(figure)]  # noqa: S704  # escaped by the writer of XML


def _key(style: Style, figure: Figure) -> Markup:
    return Markup(key(style, mark=isinstance(figure.plot, Lines)))  # noqa: S704  # likewise


def _interval_chart(verdict: Verdict) -> Markup:
    return Markup(interval_chart(verdict))  # noqa: S704  # likewise
