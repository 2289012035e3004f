"""Where the mean latency goes, by stage and load."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report import looks
from bench.report.plot import Axis, Bar, Bars, Figure, Part, Row, Section, Table
from bench.report.points import OURS, by_model, commands, identifier, load_words, offered_per_s, remarks, state
from bench.report.scales import linear
from bench.report.wording import latency, percent, significant
from bench.store import Benchmark, Point, Run

__all__ = ["stages"]

_US_PER_MS = 1e3


def stages(run: Run) -> Section:
    """One figure for each model, of our own server: others do not tell."""
    figures = [
        _figure(run, model, one)
        for model, found in by_model(run, "ladder").items()
        for one in found
        if one.server == OURS and any(point.stages_us for point in one.points)
    ]
    return Section(
        key="stages",
        title="Time by stage",
        about="Where the mean latency of Sardonyx goes, from the server's own clocks; what the caller saw beyond them "
        "is transport.",
        figures=figures,
    )


def _figure(run: Run, model: str, benchmark: Benchmark) -> Figure:
    points = sorted(
        (point for point in benchmark.points if point.stages_us), key=lambda point: offered_per_s(benchmark, point)
    )
    names = list(dict.fromkeys(name for point in points for name in point.stages_us or {}))
    bars = [_bar(benchmark, point) for point in points]
    return Figure(
        key=identifier("stages", model),
        title=f"{model}: time by stage",
        description=". ".join(f"{bar.label}: {_heaviest(bar.parts)}" for bar in bars) + ".",
        commands=commands([benchmark], run),
        plot=Bars(
            x=Axis(title="mean latency", scale=linear((_total_ms(point) for point in points), label=latency)), bars=bars
        ),
        table=_table(benchmark, points, names),
        legend=[(name, looks.stage(name)) for name in names],
        notes=remarks([benchmark]),
    )


def _bar(benchmark: Benchmark, point: Point) -> Bar:
    parts = [
        Part(name=name, value=spent_us / _US_PER_MS, look=looks.stage(name), title=f"{name} {significant(spent_us)} µs")
        for name, spent_us in (point.stages_us or {}).items()
    ]
    reading = f"{latency(float(f'{_total_ms(point):.3g}'))}{f', {state(point)}' if state(point) else ''}"
    return Bar(label=load_words(benchmark, point), parts=parts, reading=reading, valid=point.valid)


def _total_ms(point: Point) -> float:
    return sum((point.stages_us or {}).values()) / _US_PER_MS


def _heaviest(parts: Sequence[Part]) -> str:
    part = max(parts, key=lambda part: part.value)
    whole = sum(part.value for part in parts)
    return f"mostly {part.name}, {percent(part.value / whole)}" if whole else "nothing"


def _table(benchmark: Benchmark, points: Sequence[Point], names: Sequence[str]) -> Table:
    rows = [
        Row(
            cells=(
                load_words(benchmark, point),
                *(f"{significant((point.stages_us or {}).get(name, 0.0))} µs" for name in names),
                f"{significant(_total_ms(point) * _US_PER_MS)} µs",
                state(point) or "yes",
            ),
            state="" if point.valid else "invalid",
        )
        for point in points
    ]
    return Table(head=("load", *names, "sum", "counts"), rows=rows)
