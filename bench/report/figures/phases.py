"""p99 before, during and after something, or with and without it: reloads, cancelled calls, neighbours, sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.report import looks
from bench.report.plot import Axis, Bar, Bars, Figure, Part, Section
from bench.report.points import by_model, commands, identifier, latency_table, load_words, remarks, state
from bench.report.scales import linear
from bench.report.wording import latency, milliseconds
from bench.store import Benchmark, Point, Run

__all__ = ["MOST_DURING_RELOAD", "large", "neighbours", "reload", "storms"]

MOST_DURING_RELOAD: Final = 1.2
"""Times the p99 without a reload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phases:
    """A scenario whose points have labels.

    Attributes:
        scenario: Its name, and the id of the section.
        title: Of the section.
        about: Likewise.
        most: Times the p99 of the first label that the others may reach; None = no such bar.
    """

    scenario: str
    title: str
    about: str
    most: float | None = None


def reload(run: Run) -> Section:
    """p99 while models are loaded and unloaded."""
    return _section(
        run,
        _Phases(
            scenario="reload",
            title="p99 during reload",
            about="A steady load while versions are loaded and take over. The red mark is the bar: "
            f"{MOST_DURING_RELOAD:g} times the p99 before.",
            most=MOST_DURING_RELOAD,
        ),
    )


def storms(run: Run) -> Section:
    """p99 while callers cancel."""
    about = "A steady load while other callers cancel what they have asked for."
    return _section(run, _Phases(scenario="cancel-storm", title="p99 in a storm of cancelled calls", about=about))


def neighbours(run: Run) -> Section:
    """p99 of a cheap model beside a heavy one."""
    about = "A cheap model alone, and beside a heavy one under load in the same server."
    return _section(run, _Phases(scenario="mixed-models", title="p99 beside another model", about=about))


def large(run: Run) -> Section:
    """p99 of large tensors."""
    about = "Large tensors in, out, and in shared memory."
    return _section(run, _Phases(scenario="large", title="p99 with large tensors", about=about))


def _section(run: Run, phases: _Phases) -> Section:
    found = by_model(run, phases.scenario)
    figures = [_figure(run, phases, model, benchmarks) for model, benchmarks in found.items()]
    return Section(key=phases.scenario, title=phases.title, about=phases.about, figures=figures)


def _figure(run: Run, phases: _Phases, model: str, found: Sequence[Benchmark]) -> Figure:
    bars = [bar for one in reversed(found) for bar in _bars(phases, one)]
    reach = [max(part.value for part in bar.parts) for bar in bars] + [bar.limit for bar in bars if bar.limit]
    labels = list(dict.fromkeys(point.label for one in found for point in one.points))
    return Figure(
        key=identifier(phases.scenario, model),
        title=f"{model}: {phases.title}",
        description=". ".join(f"{bar.label}: {bar.reading}" for bar in bars) + ".",
        commands=commands(found, run),
        plot=Bars(x=Axis(title="p99 latency", scale=linear(reach, label=latency)), bars=bars),
        table=latency_table(found),
        legend=[(label or "load", looks.phase(number)) for number, label in enumerate(labels)],
        notes=[*_losses(found), *remarks(found)],
    )


def _bars(phases: _Phases, benchmark: Benchmark) -> Iterator[Bar]:
    labels = list(dict.fromkeys(point.label for point in benchmark.points))
    first = next((point.p99_ms for point in benchmark.points if point.valid), None)
    for point in benchmark.points:
        number = labels.index(point.label)
        reading = f"{milliseconds(point.p99_ms)}{f', {state(point)}' if state(point) else ''}"
        name = f"{benchmark.server}, {point.label or load_words(benchmark, point)}"
        yield Bar(
            label=name,
            parts=[Part(name=point.label, value=point.p99_ms, look=looks.phase(number), title=_told(benchmark, point))],
            reading=reading,
            valid=point.valid,
            limit=None if phases.most is None or first is None or number == 0 else phases.most * first,
        )


def _told(benchmark: Benchmark, point: Point) -> str:
    return f"{benchmark.server}, {load_words(benchmark, point)}: p99 {milliseconds(point.p99_ms)}"


def _losses(found: Sequence[Benchmark]) -> Sequence[str]:
    """How many requests got no answer, where that was counted."""
    return [f"{one.server}: {one.figures['lost']:,.0f} requests lost." for one in found if "lost" in one.figures]
