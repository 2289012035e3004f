"""All benchmarks of a run as tables, so that the report leaves out nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from bench.report.formatting import bytes_, percent, rate, significant
from bench.report.plot import Figure, Row, Section, Table
from bench.report.points import ServerPoints, commands, identifier, latency_table
from bench.store import Benchmark, Run

__all__ = ["all_benchmarks", "reading"]

# In this order: the longer ending goes first.
_UNITS: Final[Mapping[str, Callable[[float], str]]] = MappingProxyType(
    {
        "bytes_per_s": lambda value: f"{bytes_(value)}/s",
        "bytes_per_h": lambda value: f"{bytes_(value)}/h",
        "_per_s": rate,
        "_bytes": bytes_,
        "_share": percent,
        "_ms": lambda value: f"{significant(value)} ms",
        "_us": lambda value: f"{significant(value)} µs",
        "_ns": lambda value: f"{significant(value)} ns",
        "_s": lambda value: f"{significant(value)} s",
    }
)


def all_benchmarks(run: Run) -> Section:
    """A table of each benchmark, folded away."""
    figures = [_figure(run, number, one) for number, one in enumerate(run.benchmarks)]
    about = "Each benchmark under the name it has in the stored run, with the command that measures it alone."
    return Section(key="everything", title="Everything measured", about=about, figures=figures)


def reading(name: str, value: float) -> str:
    """A figure in the unit that its name ends with."""
    return next((words(value) for ending, words in _UNITS.items() if name.endswith(ending)), significant(value))


def _figure(run: Run, number: int, benchmark: Benchmark) -> Figure:
    served = ServerPoints(server=benchmark.server, benchmarks=[benchmark])
    plain = latency_table([served])
    known = [value for point in benchmark.points for value in (point.batch_rows_mean, point.cpu_s_per_1000)]
    costs = any(value is not None for value in known) or any(point.peak_memory_bytes for point in benchmark.points)
    table = _with_costs(benchmark, plain) if costs else plain
    return Figure(
        key=identifier("benchmark", str(number)),
        title=benchmark.name,
        description=benchmark.question,
        commands=commands([served], run),
        plot=None,
        table=table if benchmark.points else Table(head=(), rows=()),
        notes=list(_facts(benchmark)),
        remarks=benchmark.remarks,
    )


def _with_costs(benchmark: Benchmark, plain: Table) -> Table:
    """What an answer cost, behind what it took."""
    rows = [
        Row(
            cells=(
                *row.cells,
                "-" if point.batch_rows_mean is None else significant(point.batch_rows_mean),
                "-" if point.cpu_s_per_1000 is None else f"{significant(point.cpu_s_per_1000)} s",
                "-" if point.peak_memory_bytes is None else bytes_(point.peak_memory_bytes),
                str(point.seed),
            ),
            state=row.state,
        )
        for row, point in zip(plain.rows, benchmark.points, strict=True)
    ]
    return Table(head=(*plain.head, "rows a batch", "CPU for 1,000", "memory", "seed"), rows=rows, words=plain.words)


def _facts(benchmark: Benchmark) -> Iterator[str]:
    for name, value in benchmark.figures.items():
        yield f"{name.replace('_', ' ')}: {reading(name, value)}"
