"""Goodput under overload: responses within their deadline, at more than the server's capacity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report import styles
from bench.report.formatting import percent, rate
from bench.report.plot import Axis, Figure, Guide, Line, Lines, Row, Section, Table
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

__all__ = ["LEAST_SHARE_OF_PEAK", "goodput"]

LEAST_SHARE_OF_PEAK: Final = 0.85
"""Bar: the goodput at five times the capacity, as a share of the highest goodput."""


def goodput(run: Run) -> Section:
    """One figure for each model, with all servers."""
    return Section(
        key="overload",
        title="Goodput under overload",
        about="More requests than the server can answer, each with a deadline. An answer counts if it came in time. "
        f"The dashed line is {percent(LEAST_SHARE_OF_PEAK)} of the best goodput of Sardonyx at any load.",
        figures=[_figure(run, model, found) for model, found in by_model(run, "overload").items()],
    )


def _figure(run: Run, model: str, found: Sequence[ServerPoints]) -> Figure:
    lines = [
        Line(
            name=one.server,
            style=styles.server(one.server),
            dots=dots(one.all, x=_times, y=_good, words=lambda height: f"{rate(height)} in time"),
        )
        for one in found
    ]
    peaks = [peak for one in found if one.server == OURS and (peak := one.figure("peak_goodput_per_s"))]
    share = f"{percent(LEAST_SHARE_OF_PEAK)} of peak"
    drawn = [dot for line in lines for dot in line.dots]
    heights = [height for dot in drawn for height in (dot.y, *(dot.reach or ()))]
    return Figure(
        key=identifier("overload", model),
        title=f"{model}: goodput under overload",
        description=" ".join(_told(one) for one in reversed(found)),
        commands=commands(found, run),
        plot=Lines(
            x=Axis(title="load, as a multiple of capacity", scale=each((dot.x for dot in drawn), label=_multiple)),
            y=Axis(title="answers in time per second", scale=linear([*heights, *peaks])),
            lines=lines,
            guides=[Guide(y=peak * LEAST_SHARE_OF_PEAK, label=share) for peak in peaks],
        ),
        table=_table(found),
        legend=[(one.server, styles.server(one.server)) for one in reversed(found)],
        notes=warnings(found),
        remarks=remarks(found),
    )


def _table(found: Sequence[ServerPoints]) -> Table:
    """That of latencies, with the goodput in a column before them."""
    plain = latency_table(found)
    good = [rate(_good(one)) for served in reversed(found) for one in served.all]
    rows = [
        Row(cells=(*row.cells[: plain.words], text, *row.cells[plain.words :]), state=row.state)
        for row, text in zip(plain.rows, good, strict=True)
    ]
    return Table(head=(*plain.head[: plain.words], "in time", *plain.head[plain.words :]), rows=rows, words=plain.words)


def _times(measured: LabelledPoint) -> float:
    return measured.point.load.share_of_capacity or 1.0


def _multiple(value: float) -> str:
    return f"{value:g}x"


def _good(measured: LabelledPoint) -> float:
    point = measured.point
    return point.rate_reached_per_s if point.goodput_per_s is None else point.goodput_per_s


def _told(served: ServerPoints) -> str:
    sound = sorted((one for one in served.all if one.point.valid), key=_times)
    told = ", ".join(f"{rate(_good(one))} at {_times(one):g} times" for one in sound)
    return f"{served.server}: {told or 'no valid point'}."
