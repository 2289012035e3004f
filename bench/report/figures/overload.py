"""Goodput under overload: answers that came within their deadline, at more than the server can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report import looks
from bench.report.plot import Axis, Figure, Guide, Line, Lines, Row, Section, Table
from bench.report.points import OURS, by_model, commands, dot, identifier, latency_table, remarks
from bench.report.scales import each, linear
from bench.report.wording import percent, rate
from bench.store import Benchmark, Point, Run

__all__ = ["LEAST_SHARE_OF_PEAK", "goodput"]

LEAST_SHARE_OF_PEAK: Final = 0.85
"""Of the goodput at its best, which must be left at five times the capacity."""


def goodput(run: Run) -> Section:
    """One figure for each model, with all servers."""
    return Section(
        key="overload",
        title="Goodput under overload",
        about="More requests than the server can answer, each with a deadline. An answer counts if it came in time. "
        f"The dashed line is {percent(LEAST_SHARE_OF_PEAK)} of the best goodput of Sardonyx at any load.",
        figures=[_figure(run, model, found) for model, found in by_model(run, "overload").items()],
    )


def _figure(run: Run, model: str, found: Sequence[Benchmark]) -> Figure:
    lines = [
        Line(
            name=one.server,
            look=looks.server(one.server),
            dots=[
                dot(one, point, x=_times(point), y=_good(point), reading=f"{rate(_good(point))} in time")
                for point in sorted(one.points, key=_times)
            ],
        )
        for one in found
    ]
    peaks = [
        one.figures["peak_goodput_per_s"] for one in found if one.server == OURS and "peak_goodput_per_s" in one.figures
    ]
    guides = [Guide(y=peak * LEAST_SHARE_OF_PEAK, label=f"{percent(LEAST_SHARE_OF_PEAK)} of peak") for peak in peaks]
    dots = [dot for line in lines for dot in line.dots]
    return Figure(
        key=identifier("overload", model),
        title=f"{model}: goodput under overload",
        description=" ".join(_told(one) for one in reversed(found)),
        commands=commands(found, run),
        plot=Lines(
            x=Axis(title="load, as a multiple of capacity", scale=each((dot.x for dot in dots), label=_multiple)),
            y=Axis(title="answers in time per second", scale=linear([*(dot.y for dot in dots), *peaks])),
            lines=lines,
            guides=guides,
        ),
        table=_table(found),
        legend=[(one.server, looks.server(one.server)) for one in reversed(found)],
        notes=remarks(found),
    )


def _table(found: Sequence[Benchmark]) -> Table:
    """That of latencies, with the goodput in a column before them."""
    plain = latency_table(found)
    good = [rate(_good(point)) for one in reversed(found) for point in one.points]
    rows = [
        Row(cells=(*row.cells[: plain.words], text, *row.cells[plain.words :]), state=row.state)
        for row, text in zip(plain.rows, good, strict=True)
    ]
    return Table(head=(*plain.head[: plain.words], "in time", *plain.head[plain.words :]), rows=rows, words=plain.words)


def _times(point: Point) -> float:
    return point.load.share_of_capacity or 1.0


def _multiple(value: float) -> str:
    return f"{value:g}x"


def _good(point: Point) -> float:
    return point.rate_reached_per_s if point.goodput_per_s is None else point.goodput_per_s


def _told(benchmark: Benchmark) -> str:
    sound = [point for point in benchmark.points if point.valid]
    told = ", ".join(f"{rate(_good(point))} at {_times(point):g} times" for point in sorted(sound, key=_times))
    return f"{benchmark.server}: {told or 'no valid point'}."
