"""Throughput against callers: the closed loop."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import looks
from bench.report.plot import Axis, Dot, Figure, Line, Lines, Section
from bench.report.points import by_model, commands, dot, identifier, latency_table, remarks
from bench.report.scales import each, linear
from bench.report.wording import rate
from bench.store import Benchmark, Point, Run

__all__ = ["throughput"]

_ALLOWANCE = looks.Look(colour="grey")


def throughput(run: Run) -> Section:
    """One figure for each model, with all servers."""
    return Section(
        key="throughput",
        title="Throughput against callers",
        about="Each caller sends its next request when it has its answer. The grey line is the allowance of Sardonyx: "
        "what the cores would permit if a request cost no more than its share of a run of the model and a bare echo.",
        figures=[_figure(run, model, found) for model, found in by_model(run, "closed").items()],
    )


def _figure(run: Run, model: str, found: Sequence[Benchmark]) -> Figure:
    lines: list[Line] = []
    for one in found:
        points = sorted(one.points, key=_callers)
        allowed = [Dot(x=_callers(point), y=point.allowance_per_s) for point in points if point.allowance_per_s]
        if allowed:
            lines.append(Line(name=f"{one.server} allowance", look=_ALLOWANCE, dots=allowed, marks="none"))
        dots = [
            dot(one, point, x=_callers(point), y=point.rate_reached_per_s, reading=rate(point.rate_reached_per_s))
            for point in points
        ]
        lines.append(Line(name=one.server, look=looks.server(one.server), dots=dots))
    dots = [dot for line in lines for dot in line.dots]
    return Figure(
        key=identifier("throughput", model),
        title=f"{model}: throughput against callers",
        description=" ".join(_told(one) for one in reversed(found)),
        commands=commands(found, run),
        plot=Lines(
            x=Axis(title="callers", scale=each(dot.x for dot in dots)),
            y=Axis(title="answers per second", scale=linear(dot.y for dot in dots)),
            lines=lines,
        ),
        table=latency_table(found),
        legend=[(one.server, looks.server(one.server)) for one in reversed(found)],
        notes=remarks(found),
    )


def _callers(point: Point) -> float:
    return float(point.load.callers or 1)


def _told(benchmark: Benchmark) -> str:
    sound = [point for point in benchmark.points if point.valid]
    if not sound:
        return f"{benchmark.server}: no valid point."
    best = max(sound, key=lambda point: point.rate_reached_per_s)
    return f"{benchmark.server}: at most {rate(best.rate_reached_per_s)}, with {_callers(best):g} callers."
