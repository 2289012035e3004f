"""Bar charts of phases: before, during and after an event, or with and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.report import styles
from bench.report.formatting import latency, milliseconds, rate, short
from bench.report.plot import Axis, Bar, Bars, Figure, Part, Section
from bench.report.points import ServerPoints, by_model, commands, identifier, latency_table, remarks, warnings
from bench.report.scales import linear
from bench.store import Point, Run

__all__ = ["MOST_DURING_RELOAD", "large", "neighbours", "reload", "shapes", "storms"]

MOST_DURING_RELOAD: Final = 1.2
"""Times the p99 without a reload."""

# Runs that were not made in turns have one point before the loads and one after them.
_QUIET: Final = frozenset({"quiet", "before", "after"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """What bars are as long as.

    Attributes:
        title: Title of the axis.
        value: The value of a point.
        words: Formats a value at the end of a bar.
        tick: Formats a value at the axis.
    """

    title: str
    value: Callable[[Point], float]
    words: Callable[[float], str]
    tick: Callable[[float], str]


_P99: Final = _Measure(title="p99 latency", value=lambda point: point.p99_ms, words=milliseconds, tick=latency)
_RATE: Final = _Measure(
    title="answers per second", value=lambda point: point.rate_reached_per_s, words=rate, tick=short
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phases:
    """A scenario whose points have labels.

    Attributes:
        scenario: Its name, and the id of the section.
        title: Title of the section.
        about: Introduction of the section.
        measure: Quantity to compare.
        most: Times the quiet value that may be reached while something happens; None = no such bar.
    """

    scenario: str
    title: str
    about: str
    measure: _Measure = _P99
    most: float | None = None


def reload(run: Run) -> Section:
    """p99 while the model is loaded anew."""
    return _section(
        run,
        _Phases(
            scenario="reload",
            title="p99 during reload",
            about="A steady load while the model that is asked is loaded anew. The red mark is the bar: "
            f"{MOST_DURING_RELOAD:g} times the mean p99 without loads.",
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


def shapes(run: Run) -> Section:
    """p99 of requests that cannot all share a run."""
    about = "Requests of one shape, and of several that cannot share a run, at the same rate."
    return _section(run, _Phases(scenario="mixed-shapes", title="p99 of mixed shapes", about=about))


def large(run: Run) -> Section:
    """Rates of large tensors."""
    about = "Large tensors in, out, and in shared memory; callers that wait for each answer."
    return _section(run, _Phases(scenario="large", title="Rate of large tensors", about=about, measure=_RATE))


def _section(run: Run, phases: _Phases) -> Section:
    found = by_model(run, phases.scenario)
    figures = [_figure(run, phases, model, served) for model, served in found.items()]
    return Section(key=phases.scenario, title=phases.title, about=phases.about, figures=figures)


def _figure(run: Run, phases: _Phases, model: str, found: Sequence[ServerPoints]) -> Figure:
    bars = [bar for one in reversed(found) for bar in _bars(phases, one)]
    reach = [*(part.value for bar in bars for part in bar.parts), *(bar.limit for bar in bars if bar.limit)]
    return Figure(
        key=identifier(phases.scenario, model),
        title=f"{model}: {phases.title}" if model else phases.title,
        description=". ".join(f"{bar.label}: {bar.reading}" for bar in bars) + ".",
        commands=commands(found, run),
        plot=Bars(x=Axis(title=phases.measure.title, scale=linear(reach, label=phases.measure.tick)), bars=bars),
        table=latency_table(found),
        legend=[(label, styles.phase(number)) for number, label in enumerate(_labels(found))],
        notes=[*_losses(found), *warnings(found)],
        remarks=remarks(found),
    )


def _labels(found: Sequence[ServerPoints]) -> Sequence[str]:
    return list(dict.fromkeys(one.point.label or one.words for served in found for one in served.all))


def _bars(phases: _Phases, served: ServerPoints) -> Iterator[Bar]:
    labels = _labels([served])
    for name in labels:
        turns = [one for one in served.all if (one.point.label or one.words) == name]
        sound = [one for one in turns if one.point.valid]
        values = [phases.measure.value(one.point) for one in sound or turns]
        value, style = median(values), styles.phase(labels.index(name))
        words = phases.measure.words(value)
        if len(values) > 1:
            ends = " .. ".join(phases.measure.words(end) for end in (min(values), max(values)))
            words += f", {ends} in {len(values)} turns"
        title = f"{served.server}, {name}, {turns[0].words}: {words}"
        yield Bar(
            label=f"{served.server}, {name}",
            parts=[Part(name=name, value=value, style=style, title=title)],
            reading=words if sound else f"{words}, invalid",
            valid=bool(sound),
            limit=_limit(phases, served, name),
        )


def _limit(phases: _Phases, served: ServerPoints, name: str) -> float | None:
    """Limit of the ``during`` phase, from the quiet phases; None = there is none."""
    quiet = [phases.measure.value(one.point) for one in served.all if one.point.label in _QUIET and one.point.valid]
    if phases.most is None or name != "during" or not quiet:
        return None
    return phases.most * sum(quiet) / len(quiet)


def _losses(found: Sequence[ServerPoints]) -> Iterator[str]:
    """Number of requests without a response, if it was counted."""
    for served in found:
        lost = served.figure("lost")
        if lost is not None:
            yield f"{served.server}: {lost:,.0f} requests lost."
