"""Breakdown of the mean latency by stage and load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report import styles
from bench.report.formatting import latency, percent, rate, significant
from bench.report.plot import Axis, Bar, Bars, Figure, Part, Row, Section, Table
from bench.report.points import OURS, LabelledPoint, ServerPoints, by_model, commands, identifier, remarks, warnings
from bench.report.scales import linear
from bench.store import Benchmark, Run

__all__ = ["stages"]

_US_PER_MS: Final = 1e3


def stages(run: Run) -> Section:
    """One figure for each model, of our own server by itself: others do not tell, and take its cores while they run."""
    figures = [
        _figure(run, model, ServerPoints(server=OURS, benchmarks=known))
        for model, found in by_model(run, "ladder").items()
        for one in found
        if one.server == OURS and (known := [benchmark for benchmark in one.benchmarks if _tells(benchmark)])
    ]
    return Section(
        key="stages",
        title="Time by stage",
        about="Where the mean latency of Sardonyx goes, from the server's own clocks; what the caller saw beyond them "
        "is transport. Percentages are shares of the capacity.",
        figures=figures,
    )


def _tells(benchmark: Benchmark) -> bool:
    return "capacity_per_s" in benchmark.figures and any(point.stages_us for point in benchmark.points)


def _figure(run: Run, model: str, served: ServerPoints) -> Figure:
    known = sorted((one for one in served.all if one.point.stages_us), key=lambda one: one.offered_per_s)
    names = list(dict.fromkeys(name for one in known for name in _stages_us(one)))
    bars = [_bar(one) for one in known]
    return Figure(
        key=identifier("stages", model),
        title=f"{model}: time by stage",
        description=". ".join(f"{bar.label}: {_heaviest(bar.parts)}" for bar in bars) + ".",
        commands=commands([served], run),
        plot=Bars(x=Axis(title="mean latency", scale=linear(map(_total_ms, known), label=latency)), bars=bars),
        table=_table(known, names),
        legend=[(name, styles.stage(name)) for name in names],
        notes=warnings([served]),
        remarks=remarks([served]),
    )


def _bar(measured: LabelledPoint) -> Bar:
    parts = [
        Part(
            name=name, value=spent_us / _US_PER_MS, style=styles.stage(name), title=f"{name} {significant(spent_us)} µs"
        )
        for name, spent_us in _stages_us(measured).items()
    ]
    share = "" if measured.share is None else f", {percent(measured.share)}"
    reading = latency(float(f"{_total_ms(measured):.3g}")) + ("" if measured.point.valid else ", invalid")
    return Bar(label=rate(measured.offered_per_s) + share, parts=parts, reading=reading, valid=measured.point.valid)


def _stages_us(measured: LabelledPoint) -> dict[str, float]:
    return dict(measured.point.stages_us or {})


def _total_ms(measured: LabelledPoint) -> float:
    return sum(_stages_us(measured).values()) / _US_PER_MS


def _heaviest(parts: Sequence[Part]) -> str:
    part = max(parts, key=lambda part: part.value)
    whole = sum(part.value for part in parts)
    return f"mostly {part.name}, {percent(part.value / whole)}" if whole else "nothing"


def _table(known: Sequence[LabelledPoint], names: Sequence[str]) -> Table:
    rows = [
        Row(
            cells=(
                one.words,
                *(f"{significant(_stages_us(one).get(name, 0.0))} µs" for name in names),
                f"{significant(_total_ms(one) * _US_PER_MS)} µs",
                one.state or "yes",
            ),
            state="" if one.point.valid else "invalid",
        )
        for one in known
    ]
    return Table(head=("load", *names, "sum", "counts"), rows=rows)
