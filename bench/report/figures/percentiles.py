"""Percentile curves: latency distributions by load and by server."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from bench.report import styles
from bench.report.curves import Step, curve
from bench.report.formatting import latency, milliseconds, percent, rate
from bench.report.plot import Axis, Dot, Figure, Line, Lines, Row, Section, Table
from bench.report.points import OURS, LabelledPoint, ServerPoints, by_model, commands, identifier, remarks
from bench.report.scales import log, nines
from bench.store import Run

__all__ = ["curves"]

_MOST: Final = 5
_QUANTILES: Final = (50.0, 90.0, 99.0, 99.9, 99.99)
_HALF: Final = 0.5
_SAME: Final = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """One line.

    Attributes:
        name: For the legend.
        style: Style of the curve.
        measured: Repeats of one load.
        steps: Steps of the merged histograms.
    """

    name: str
    style: styles.Style
    measured: Sequence[LabelledPoint]
    steps: Sequence[Step]

    @classmethod
    def of(cls, name: str, style: styles.Style, measured: Sequence[LabelledPoint]) -> Self:
        """Their histograms are added up."""
        return cls(name=name, style=style, measured=measured, steps=curve(*(one.point.histogram for one in measured)))

    @property
    def valid(self) -> bool:
        """Whether all of it counts."""
        return all(one.point.valid for one in self.measured)


def curves(run: Run) -> Section:
    """For each model a figure by load, and one by server if there are several."""
    figures: list[Figure] = []
    for model, found in by_model(run, "ladder").items():
        loads = [one for served in found if served.server == OURS for one in _over_loads(served)]
        if loads:
            title = f"{model}: latency by percentile and load"
            figures.append(_figure(run, identifier("percentiles", model), title, found[-1:], loads))
        wanted = _HALF * min(max(one.offered_per_s for one in served.all) for served in found)
        servers = [one for served in found for one in _near(served, wanted)]
        if len(servers) > 1:
            title = f"{model}: latency by percentile and server, at rates near {rate(wanted)}"
            figures.append(_figure(run, identifier("percentiles", model, "servers"), title, found, servers))
    return Section(
        key="percentiles",
        title="Percentile curves",
        about="The whole distribution, from HDR histograms of every answer. Each step to the right is one more nine: "
        "how long the slowest of ten, of a hundred, of a thousand requests took. The last step is the slowest of all.",
        figures=figures,
    )


def _over_loads(served: ServerPoints) -> Iterator[_Curve]:
    """Sardonyx from light to heavy loads, if its capacity is known."""
    known = sorted((one for one in _recorded(served) if one.share is not None), key=lambda one: one.offered_per_s)
    if len(known) > _MOST:
        known = [known[round(number * (len(known) - 1) / (_MOST - 1))] for number in range(_MOST)]
    for number, one in enumerate(known):
        name = f"{percent(one.share or 0.0)} of capacity"
        yield _Curve.of(name, styles.share(number, len(known)), [one])


def _near(served: ServerPoints, wanted_per_s: float) -> Iterator[_Curve]:
    """A server at the rate nearest to one; all valid repeats of it."""
    known = _recorded(served)
    if known:
        best = min(known, key=lambda one: (not one.point.valid, abs(one.offered_per_s - wanted_per_s)))
        same = [one for one in known if math.isclose(one.offered_per_s, best.offered_per_s, rel_tol=_SAME)]
        chosen = [one for one in same if one.point.valid] or [best]
        name = f"{served.server} at {rate(best.offered_per_s)}"
        yield _Curve.of(name, styles.server(served.server), chosen)


def _recorded(served: ServerPoints) -> Sequence[LabelledPoint]:
    return [one for one in served.answered if one.point.histogram]


def _figure(run: Run, key: str, title: str, found: Sequence[ServerPoints], drawn: Sequence[_Curve]) -> Figure:
    lines = [_line(one) for one in drawn]
    rows = [_row(one) for one in drawn]
    places = [dot for line in lines for dot in line.dots]
    return Figure(
        key=key,
        title=title,
        description=", ".join(f"{row.cells[0]}: slowest {row.cells[-1]}" for row in rows) + ".",
        commands=commands(found, run),
        plot=Lines(
            x=Axis(title="percentile", scale=nines(max(dot.x for dot in places))),
            y=Axis(title="latency", scale=log([dot.y for dot in places], label=latency)),
            lines=lines,
        ),
        table=Table(
            head=("curve", "load", "answers", *(f"p{at:g}" for at in _QUANTILES), "slowest"), rows=rows, words=2
        ),
        legend=[(line.name, line.style) for line in lines],
        notes=["Dashed curves are invalid and count for nothing."] if any(row.state for row in rows) else (),
        remarks=remarks(found),
    )


def _line(one: _Curve) -> Line:
    return Line(
        name=_name(one),
        style=one.style,
        dots=[Dot(x=step.percentile, y=step.latency_ms) for step in one.steps],
        marks="last",
        dashed=not one.valid,
    )


def _row(one: _Curve) -> Row:
    steps = one.steps
    found = [next((step.latency_ms for step in steps if step.percentile >= at), None) for at in _QUANTILES]
    cells = ["-" if value is None else milliseconds(value) for value in found]
    answers = sum(measured.point.answered for measured in one.measured)
    return Row(
        cells=(_name(one), one.measured[0].words, f"{answers:,}", *cells, milliseconds(steps[-1].latency_ms)),
        state="" if one.valid else "invalid",
    )


def _name(one: _Curve) -> str:
    return one.name if one.valid else f"{one.name} (invalid)"
