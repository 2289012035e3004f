"""Renders a run as Markdown: its environment, and its tables with losing cases first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Final

from bench.bars import BY_CONSTRUCTION, Bar, Outcome
from bench.report.archive import Bars, name_of
from bench.report.formatting import milliseconds, rate, significant
from bench.report.markdown import cell, item, paragraph, strong, table
from bench.report.peer_tables import commits, peer_summary, peers_by_model, processor_column, processor_of, processors
from bench.report.points import OURS, ServerPoints, by_model
from bench.report.verdicts import State, Verdict, verdicts
from bench.store import Point, Run

__all__ = ["latencies", "prose"]

_VERSIONS: Final = ("python", "grpcio", "onnxruntime")
_DATE_LETTERS: Final = 10
_COMMIT_LETTERS: Final = 10
_RANKS: Final[Mapping[str, int]] = MappingProxyType({"miss": 0, "not proven": 1, "none": 2, "pass": 3})
_LOADS: Final = (0.5, 0.7)
_NEAR: Final = 1e-6


def prose(result: Bars | Run) -> str:
    """Markdown that ends with a newline."""
    parts = _of_bars(result) if isinstance(result, Bars) else _of_run(result)
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _of_bars(bars: Bars) -> Iterator[str]:
    around = bars.around
    changed = around.get("changed_files") or 0
    generator = around.get("generator")
    yield paragraph(
        f"`make bench-{name_of(bars)}`, {around['date'][:_DATE_LETTERS]},",
        f"commit `{around['commit'][:_COMMIT_LETTERS]}`",
        f"with {changed} changed files:" if changed else "on",
        f"{around['cpu'] or 'an unknown processor'}, {around['cores']} cores shared by servers and callers",
        f"({generator});" if generator else ";",
        f"{_versions({'python': around.get('python', ''), **around.get('versions', {})})}.",
        f"{around['turns']} turns of about {around['seconds']:g} s for each arm;",
        "median of the turns (95 % interval). What misses its bar comes first.",
    )
    ordered = sorted(bars.outcomes, key=lambda one: (_RANKS[one.verdict], _distance(one)))
    rows = [(cell(one.bar.name), _wording(one.bar), _reached(one)) for one in ordered]
    yield table(("compared, in one run", "bar", "reached"), rows)
    missed = [one for one in ordered if one.verdict != "pass"]
    if missed:
        yield "Behind what is missed or not proven:"
        yield "\n".join(item(f"{cell(one.bar.name)}: {cell(one.remark)}") for one in missed)


def _distance(outcome: Outcome) -> float:
    """Below 1 if the bar is missed; smaller if by more."""
    if not outcome.values:
        return 0.0
    reached, target = median(outcome.values), outcome.bar.target
    return reached / target if outcome.bar.at_least else target / max(reached, 1e-12)


def _wording(bar: Bar) -> str:
    unit = f" {bar.unit}" if bar.unit else ""
    slack = f", less {bar.slack * 100:g} % for noise" if bar.slack else ""
    return f"at {'least' if bar.at_least else 'most'} {bar.target:g}{unit}{slack}"


def _reached(outcome: Outcome) -> str:
    if not outcome.values:
        return "not measured"
    unit = f" {outcome.bar.unit}" if outcome.bar.unit else ""
    middle = f"{significant(median(outcome.values))}{unit}"
    ends = outcome.interval
    spread = "" if ends is None else f" ({significant(ends[0])} .. {significant(ends[1])})"
    # Where there was nothing to measure, the reader is to know.
    told = f", {BY_CONSTRUCTION}" if outcome.remark.startswith(BY_CONSTRUCTION) else ""
    told += ", not proven" if outcome.verdict == "not proven" else ""
    return f"{strong(middle, missed=outcome.verdict == 'miss')}{spread}{told}"


def _of_run(run: Run) -> Iterator[str]:
    yield paragraph(
        f"`{run.command or 'make bench'}`, {run.started[:_DATE_LETTERS]}, {commits(run)} on",
        f"{processors(run)}, {run.cores} cores shared by servers and callers;",
        f"{_versions(run.versions)}; seed {run.seed}.",
        "Requests arrive as a Poisson process; latency counts from when each was due.",
        "It was a quick run: few points and short ones." if run.quick else "",
    )
    yield latencies(run)
    judged = verdicts(run)
    others = [one for one in judged if one.benchmark.server != OURS]
    yield peer_summary(others)
    lost = [one for one in judged if one.state != State.MET]
    if lost:
        yield f"{len(lost)} of {len(judged)} bars are missed, or the run does not prove that they are met:"
        yield _judged(lost, run)
    yield peers_by_model(others, run)
    met = [one for one in judged if one.state == State.MET and one.benchmark.server == OURS]
    if met:
        yield f"<details><summary>Bars that are met: {len(met)}</summary>\n\n{_judged(met, run)}\n\n</details>"


def latencies(run: Run) -> str:
    """Latencies of Sardonyx at some loads, and the floor; "" if no load has a rate."""
    rows = [
        (cell(model), *_row(one))
        for model, found in by_model(run, "ladder").items()
        for one in found
        if one.server == OURS and one.figure("capacity_per_s")
    ]
    loads = [f"{share * 100:g} %" for share in _LOADS]
    head = ("model", "capacity", *(f"p50 / p99 at {load}" for load in loads), f"floor of p99 at {loads[-1]}")
    return table(head, rows) if rows else ""


def _row(served: ServerPoints) -> Sequence[str]:
    points = [_at(served, share) for share in _LOADS]
    floor = points[-1].floor_p99_ms if points[-1] else None
    return (
        rate(served.figure("capacity_per_s") or 0.0),
        *(_both(point) for point in points),
        "-" if floor is None else milliseconds(floor),
    )


def _at(served: ServerPoints, share: float) -> Point | None:
    known = (one for one in served.answered if one.share is not None)
    return next((one.point for one in known if abs((one.share or 0.0) - share) < _NEAR), None)


def _both(point: Point | None) -> str:
    if point is None:
        return "-"
    return f"{significant(point.p50_ms)} / {milliseconds(point.p99_ms)}{'' if point.valid else ' (invalid)'}"


def _judged(found: Sequence[Verdict], run: Run) -> str:
    column = processor_column(run)
    rows = [
        (
            cell(one.what),
            cell(one.benchmark.model),
            cell(one.benchmark.server),
            one.wording,
            strong(one.reading, missed=one.state == State.MISSED) + _doubt(one.state),
            *([cell(processor_of(one.benchmark, run))] if column else []),
        )
        for one in found
    ]
    return table(("compared, in one run", "model", "server", "bar", "reached", *column), rows)


def _doubt(state: State) -> str:
    return "" if state in {State.MISSED, State.MET} else f", {state.value}"


def _versions(versions: Mapping[str, str]) -> str:
    names = ((name, "Python" if name == "python" else name) for name in _VERSIONS)
    return ", ".join(f"{words} {versions[name]}" for name, words in names if versions.get(name))
