"""p99 over releases, each machine by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report import styles
from bench.report.formatting import latency, milliseconds
from bench.report.history import Entry
from bench.report.plot import Axis, Dot, Figure, Line, Lines, Row, Section, Table
from bench.report.points import identifier
from bench.report.scales import Scale, Tick, log

__all__ = ["history"]

_COMMAND: Final = "python -m bench.history add RUN.json"
_DATE_LETTERS: Final = 10
_COMMIT_LETTERS: Final = 7


def history(past: Sequence[Entry]) -> Section:
    """One figure for each machine, one line for each benchmark."""
    machines = dict.fromkeys(entry.machine for entry in past)
    return Section(
        key="history",
        title="p99 over releases",
        about="What earlier releases reached. Lines of different machines are not comparable and never share a plot.",
        figures=[
            _figure(number, machine, [entry for entry in past if entry.machine == machine])
            for number, machine in enumerate(machines)
        ],
        missing="" if past else _COMMAND,
    )


def _figure(number: int, machine: str, past: Sequence[Entry]) -> Figure:
    names = list(dict.fromkeys(name for entry in past for name in entry.p99_ms))
    lines = [
        Line(
            name=name,
            style=styles.among_many(place),
            dots=[
                Dot(x=at, y=entry.p99_ms[name], title=f"{name}, {_words(entry)}: {milliseconds(entry.p99_ms[name])}")
                for at, entry in enumerate(past)
                if entry.p99_ms.get(name, 0) > 0
            ],
        )
        for place, name in enumerate(names)
    ]
    ticks = [Tick(value=at, label=entry.release) for at, entry in enumerate(past)]
    rows = [
        Row(
            cells=(
                _words(entry),
                *(milliseconds(entry.p99_ms[name]) if name in entry.p99_ms else "-" for name in names),
            )
        )
        for entry in past
    ]
    return Figure(
        key=identifier("history", str(number)),
        title=f"{machine}: p99 over releases",
        description=f"{len(names)} benchmarks over {len(past)} runs, from {_words(past[0])} to {_words(past[-1])}.",
        commands=[_COMMAND],
        plot=Lines(
            # Half a step of room at both ends: a single run stands in the middle.
            x=Axis(title="release", scale=Scale(low=-0.5, high=len(past) - 0.5, ticks=ticks)),
            y=Axis(title="p99", scale=log([dot.y for line in lines for dot in line.dots], label=latency)),
            lines=lines,
        ),
        table=Table(head=("run", *names), rows=rows),
        legend=[(line.name, line.style) for line in lines],
    )


def _words(entry: Entry) -> str:
    return " ".join(
        word for word in (entry.release, entry.date[:_DATE_LETTERS], entry.commit[:_COMMIT_LETTERS]) if word
    )
