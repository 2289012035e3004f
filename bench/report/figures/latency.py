"""Latency against offered load: open loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bench.report import styles
from bench.report.formatting import latency, milliseconds, rate
from bench.report.plot import Axis, Dot, Figure, Line, Lines, Section
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
    span,
    warnings,
)
from bench.report.scales import linear, log
from bench.store import Run

__all__ = ["latencies"]

# Above this ratio of the highest rate to the lowest, the slower servers would stand in a heap at the left.
_LINEAR_UP_TO: Final = 30.0
_FLOOR: Final = styles.Style(colour="grey", mark="flat")


def latencies(run: Run) -> Section:
    """One figure for each model, with all servers."""
    return Section(
        key="latency",
        title="Latency against offered load",
        about="Requests arrive as a Poisson process, whether or not earlier ones were answered, and latency counts "
        "from when each was due. Full lines are p99, dashed ones p50. A grey line is the floor of p99 for Sardonyx: "
        "the bare transport, and a queue without any cost of its own that takes what waits whenever the model is free.",
        figures=[_figure(run, model, found) for model, found in by_model(run, "ladder").items()],
    )


def _figure(run: Run, model: str, found: Sequence[ServerPoints]) -> Figure:
    lines: list[Line] = []
    for one in found:
        lines += [*_floor(one), *_both(one)]
    drawn = [dot for line in lines for dot in line.dots]
    rates = [dot.x for dot in drawn]
    heights = [height for dot in drawn for height in (dot.y, *(dot.reach or ()))]
    return Figure(
        key=identifier("latency", model),
        title=f"{model}: latency against offered load",
        description=" ".join(_told(one) for one in reversed(found)),
        commands=commands(found, run),
        plot=Lines(
            x=Axis(
                title="requests offered per second",
                scale=linear(rates) if span(rates) <= _LINEAR_UP_TO else log(rates),
            ),
            y=Axis(title="latency", scale=log(heights, label=latency)),
            lines=lines,
        ),
        table=latency_table(found),
        legend=[
            *((one.server, styles.server(one.server)) for one in reversed(found)),
            *(("floor of p99", _FLOOR) for one in found if any(_floor(one))),
        ],
        notes=warnings(found),
        remarks=remarks(found),
    )


def _both(served: ServerPoints) -> Iterator[Line]:
    """p50 and p99; separate lines for a ladder of rates and for the rates of a comparison."""
    ladder = [one for one in served.answered if one.share is not None]
    beside = [one for one in served.answered if one.share is None]
    for words, measured in (("", ladder), (" beside another", beside)):
        for name, value_ms in (("p50", _p50), ("p99", _p99)):
            if measured:
                yield Line(
                    name=f"{served.server} {name}{words if ladder else ''}",
                    style=styles.server(served.server),
                    dots=_dots(measured, name, value_ms),
                    dashed=name == "p50",
                )


def _dots(measured: Sequence[LabelledPoint], name: str, value_ms: Callable[[LabelledPoint], float]) -> Sequence[Dot]:
    return dots(measured, x=_offered, y=value_ms, words=lambda height: f"{name} {milliseconds(height)}")


def _floor(served: ServerPoints) -> Iterator[Line]:
    """The floor of the p99, if it was simulated."""
    known = [one for one in served.answered if one.point.valid and one.point.floor_p99_ms]
    if known and served.server == OURS:
        floor = dots(known, x=_offered, y=lambda one: one.point.floor_p99_ms or 0.0, words=milliseconds)
        yield Line(name=f"{served.server} floor of p99", style=_FLOOR, dots=floor, marks="none")


def _told(served: ServerPoints) -> str:
    sound = sorted((one for one in served.answered if one.point.valid), key=_offered)
    if not sound:
        return f"{served.server}: no valid point."
    first, last = sound[0], sound[-1]
    return (
        f"{served.server}: p99 {milliseconds(first.point.p99_ms)} at {rate(first.offered_per_s)}, "
        f"{milliseconds(last.point.p99_ms)} at {rate(last.offered_per_s)}."
    )


def _offered(measured: LabelledPoint) -> float:
    return measured.offered_per_s


def _p50(measured: LabelledPoint) -> float:
    return measured.point.p50_ms


def _p99(measured: LabelledPoint) -> float:
    return measured.point.p99_ms
