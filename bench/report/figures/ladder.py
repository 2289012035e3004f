"""Latency against offered load, and percentile curves: what the ladder of rates shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bench.report import looks
from bench.report.curves import curve
from bench.report.plot import Axis, Dot, Figure, Line, Lines, Row, Section, Table
from bench.report.points import (
    OURS,
    by_model,
    commands,
    dot,
    identifier,
    latency_table,
    load_words,
    offered_per_s,
    remarks,
    span,
)
from bench.report.scales import linear, log, nines
from bench.report.wording import latency, milliseconds, percent, rate, short
from bench.store import Benchmark, Point, Run

__all__ = ["curves", "latencies"]

# Above this ratio of the highest rate to the lowest, the slower servers would stand in a heap at the left.
_LINEAR_UP_TO: Final = 30.0
_MOST_CURVES: Final = 5
_QUANTILES: Final = (50.0, 90.0, 99.0, 99.9, 99.99)
_FLOOR: Final = looks.Look(colour="grey")
_HALF: Final = 0.5


def latencies(run: Run) -> Section:
    """One figure for each model, with all servers."""
    return Section(
        key="latency",
        title="Latency against offered load",
        about="Requests arrive as a Poisson process, whether or not earlier ones were answered, and latency counts "
        "from when each was due. Full lines are p99, dashed ones p50. The grey line is the floor of p99 for Sardonyx: "
        "the bare transport, and a queue without any cost of its own that takes what waits whenever the model is free.",
        figures=[_against_load(run, model, found) for model, found in by_model(run, "ladder").items()],
    )


def curves(run: Run) -> Section:
    """For each model one figure over loads, and one over servers where there are several."""
    figures: list[Figure] = []
    for model, found in by_model(run, "ladder").items():
        figures += _over_loads(run, model, [one for one in found if one.server == OURS])
        figures += _over_servers(run, model, found)
    return Section(
        key="percentiles",
        title="Percentile curves",
        about="The whole distribution, from HDR histograms of every answer. Each step to the right is one more nine: "
        "how long the slowest of ten, of a hundred, of a thousand requests took. The last step is the slowest of all.",
        figures=figures,
    )


def _against_load(run: Run, model: str, found: Sequence[Benchmark]) -> Figure:
    lines: list[Line] = []
    for one in found:
        look, points = looks.server(one.server), _climbing(one)
        lines += _floor(one, points)
        medians = [_dot(one, point, point.p50_ms, "p50") for point in points]
        lines.append(Line(name=f"{one.server} p50", look=look, dots=medians, dashed=True))
        tails = [_dot(one, point, point.p99_ms, "p99") for point in points]
        lines.append(Line(name=f"{one.server} p99", look=look, dots=tails))
    dots = [dot for line in lines for dot in line.dots]
    rates = [dot.x for dot in dots]
    scale = linear(rates, label=short) if span(rates) <= _LINEAR_UP_TO else log(rates)
    return Figure(
        key=identifier("latency", model),
        title=f"{model}: latency against offered load",
        description=" ".join(_told(one) for one in reversed(found)),
        commands=commands(found, run),
        plot=Lines(
            x=Axis(title="requests offered per second", scale=scale),
            y=Axis(title="latency", scale=log([dot.y for dot in dots], label=latency)),
            lines=lines,
        ),
        table=latency_table(found),
        legend=[(one.server, looks.server(one.server)) for one in reversed(found)],
        notes=remarks(found),
    )


def _climbing(benchmark: Benchmark) -> Sequence[Point]:
    """Points with answers, from the lowest rate."""
    return sorted(
        (point for point in benchmark.points if point.answered), key=lambda point: offered_per_s(benchmark, point)
    )


def _dot(benchmark: Benchmark, point: Point, value_ms: float, name: str) -> Dot:
    return dot(
        benchmark, point, x=offered_per_s(benchmark, point), y=value_ms, reading=f"{name} {milliseconds(value_ms)}"
    )


def _floor(benchmark: Benchmark, points: Sequence[Point]) -> Iterator[Line]:
    """The floor of p99, where it was simulated."""
    dots = [
        Dot(x=offered_per_s(benchmark, point), y=point.floor_p99_ms)
        for point in points
        if point.valid and point.floor_p99_ms
    ]
    if dots:
        yield Line(name=f"{benchmark.server} floor of p99", look=_FLOOR, dots=dots, marks="none")


def _told(benchmark: Benchmark) -> str:
    sound = [point for point in _climbing(benchmark) if point.valid]
    if not sound:
        return f"{benchmark.server}: no valid point."
    first, last = sound[0], sound[-1]
    return (
        f"{benchmark.server}: p99 {milliseconds(first.p99_ms)} at {rate(offered_per_s(benchmark, first))}, "
        f"{milliseconds(last.p99_ms)} at {rate(offered_per_s(benchmark, last))}."
    )


def _over_loads(run: Run, model: str, found: Sequence[Benchmark]) -> Iterator[Figure]:
    """Our own server, from a light load to a heavy one."""
    for one in found:
        points = [point for point in _climbing(one) if point.histogram]
        chosen = _spread(points)
        curves = [
            (
                percent(point.load.share_of_capacity or 0.0) + " of capacity",
                one,
                point,
                looks.share(number, len(chosen)),
            )
            for number, point in enumerate(chosen)
        ]
        if curves:
            yield _curves(run, identifier("percentiles", model), f"{model}: latency by percentile and load", curves)


def _over_servers(run: Run, model: str, found: Sequence[Benchmark]) -> Iterator[Figure]:
    """Each server at a rate as near as it has to half of what the slowest one can take."""
    if len(found) > 1:
        wanted = _HALF * min(max(offered_per_s(one, point) for point in one.points) for one in found)
        curves = []
        for one in found:
            points = [point for point in _climbing(one) if point.histogram]
            if points:
                near = min(points, key=lambda point: (not point.valid, abs(offered_per_s(one, point) - wanted)))
                words = f"{one.server} at {rate(offered_per_s(one, near))}"
                curves.append((words, one, near, looks.server(one.server)))
        if len(curves) > 1:
            title = f"{model}: latency by percentile and server, rates near {rate(wanted)}"
            yield _curves(run, identifier("percentiles", model, "servers"), title, curves)


def _spread(points: Sequence[Point]) -> Sequence[Point]:
    """Some, evenly from the first to the last."""
    if len(points) <= _MOST_CURVES:
        return points
    return [points[round(number * (len(points) - 1) / (_MOST_CURVES - 1))] for number in range(_MOST_CURVES)]


def _curves(run: Run, key: str, title: str, drawn: Sequence[tuple[str, Benchmark, Point, looks.Look]]) -> Figure:
    lines, rows = [], []
    for words, one, point, look in drawn:
        steps = curve(point.histogram)
        name = words if point.valid else f"{words} (invalid)"
        lines.append(
            Line(
                name=name,
                look=look,
                dots=[Dot(x=step.percentile, y=step.latency_ms) for step in steps],
                marks="last",
                dashed=not point.valid,
            )
        )
        values = [next((step.latency_ms for step in steps if step.percentile >= at), None) for at in _QUANTILES]
        cells = ["-" if value is None else milliseconds(value) for value in values]
        rows.append(
            Row(
                cells=(name, load_words(one, point), f"{point.answered:,}", *cells, milliseconds(steps[-1].latency_ms)),
                state="" if point.valid else "invalid",
            )
        )
    dots = [dot for line in lines for dot in line.dots]
    slowest = ", ".join(f"{row.cells[0]}: slowest {row.cells[-1]}" for row in rows)
    return Figure(
        key=key,
        title=title,
        description=f"{slowest}.",
        commands=commands((one for _, one, _, _ in drawn), run),
        plot=Lines(
            x=Axis(title="percentile", scale=nines(max(dot.x for dot in dots))),
            y=Axis(title="latency", scale=log([dot.y for dot in dots], label=latency)),
            lines=lines,
        ),
        table=Table(
            head=("curve", "load", "answers", *(f"p{at:g}" for at in _QUANTILES), "slowest"), rows=rows, words=2
        ),
        legend=[(line.name, line.look) for line in lines],
        notes=[f"{row.cells[0]}: drawn dashed, for it counts for nothing." for row in rows if row.state],
    )
