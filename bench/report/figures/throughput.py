"""Throughput against the number of callers: closed loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report import styles
from bench.report.formatting import rate
from bench.report.plot import Axis, Figure, Line, Lines, Section
from bench.report.points import (
    OURS,
    LabelledPoint,
    ServerPoints,
    by_model,
    commands,
    dots,
    identifier,
    latency_table,
    remarks,
    warnings,
)
from bench.report.scales import each, linear
from bench.store import Run

__all__ = ["throughput"]

_ALLOWANCE = styles.Style(colour="grey", mark="flat")


def throughput(run: Run) -> Section:
    """One figure for each model, with all servers."""
    return Section(
        key="throughput",
        title="Throughput against callers",
        about="Each caller sends its next request when it has its answer. A grey line is the allowance of Sardonyx: "
        "what the cores would permit if a request cost no more than its share of a run of the model and a bare echo.",
        figures=[_figure(run, model, found) for model, found in by_model(run, "closed").items()],
    )


def _figure(run: Run, model: str, found: Sequence[ServerPoints]) -> Figure:
    lines: list[Line] = []
    for one in found:
        allowed = [measured for measured in one.all if measured.point.allowance_per_s]
        if allowed and one.server == OURS:
            allowance = dots(allowed, x=_callers, y=lambda measured: measured.point.allowance_per_s or 0.0, words=rate)
            lines.append(Line(name=f"{one.server} allowance", style=_ALLOWANCE, dots=allowance, marks="none"))
        lines += _reached(one)
    drawn = [dot for line in lines for dot in line.dots]
    heights = [height for dot in drawn for height in (dot.y, *(dot.reach or ()))]
    return Figure(
        key=identifier("throughput", model),
        title=f"{model}: throughput against callers",
        description=" ".join(_told(one) for one in reversed(found)),
        commands=commands(found, run),
        plot=Lines(
            x=Axis(title="callers", scale=each(dot.x for dot in drawn)),
            y=Axis(title="answers per second", scale=linear(heights)),
            lines=lines,
        ),
        table=latency_table(found),
        legend=[
            *((one.server, styles.server(one.server)) for one in reversed(found)),
            *(("allowance", _ALLOWANCE) for line in lines if line.style is _ALLOWANCE),
        ],
        notes=warnings(found),
        remarks=remarks(found),
    )


def _reached(served: ServerPoints) -> Iterator[Line]:
    """Apart, what was reached with more and more callers and what was reached beside another server that was up."""
    several = {one.name for one in served.benchmarks if len({point.load.callers for point in one.points}) > 1}
    for words, climbing in (("", True), (" beside another", False)):
        measured = [one for one in served.all if (one.benchmark.name in several) is climbing]
        if measured:
            yield Line(
                name=f"{served.server}{words if several else ''}",
                style=styles.server(served.server),
                dots=dots(measured, x=_callers, y=lambda one: one.point.rate_reached_per_s, words=rate),
            )


def _callers(measured: LabelledPoint) -> float:
    return float(measured.point.load.callers or 1)


def _told(served: ServerPoints) -> str:
    sound = [one for one in served.all if one.point.valid]
    if not sound:
        return f"{served.server}: no valid point."
    best = max(sound, key=lambda one: one.point.rate_reached_per_s)
    return f"{served.server}: at most {rate(best.point.rate_reached_per_s)}, with {_callers(best):g} callers."
