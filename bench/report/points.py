"""What the figures share: benchmarks by model and server, points in words, rows of values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bench.report.plot import Dot, Row, Table
from bench.report.wording import milliseconds, percent, rate, significant
from bench.store import Benchmark, Point, Run

__all__ = [
    "OURS",
    "by_model",
    "commands",
    "dot",
    "identifier",
    "latency_table",
    "load_words",
    "offered_per_s",
    "remarks",
    "span",
    "state",
]

OURS: Final = "sardonyx"
_HEAD: Final = ("server", "load", "answered", "p50", "p90", "p99", "p99.9", "max", "failed", "slip", "counts")
_PHASE_HEAD: Final = (*_HEAD[:1], "phase", *_HEAD[1:])


def by_model(run: Run, scenario: str) -> Mapping[str, Sequence[Benchmark]]:
    """Model -> benchmarks of a scenario that have points; our own server last, which draws it above the others.

    Of several that one server has for a model, the one with most points counts here; the list of everything has all.
    """
    found: dict[str, dict[str, Benchmark]] = {}
    for one in run.benchmarks:
        if one.scenario == scenario and one.points:
            servers = found.setdefault(one.model, {})
            known = servers.get(one.server)
            if known is None or len(known.points) < len(one.points):
                servers[one.server] = one
    return {model: sorted(servers.values(), key=lambda one: one.server == OURS) for model, servers in found.items()}


def commands(benchmarks: Iterable[Benchmark], run: Run) -> Sequence[str]:
    """What made a figure: the benchmarks' own commands, or else that of the run."""
    own = list(dict.fromkeys(one.command for one in benchmarks if one.command))
    return own or [run.command]


def identifier(*words: str) -> str:
    """An id for HTML, whatever the words are: letters and digits stay, the rest becomes its number.

    Different words give different ids.
    """
    return "-".join(
        "".join(letter if letter.isascii() and letter.isalnum() else f"_{ord(letter):x}" for letter in word)
        for word in words
    )


def offered_per_s(benchmark: Benchmark, point: Point) -> float:
    """The rate asked for; what was reached where only that is known."""
    load = point.load
    if load.rate_per_s is not None:
        return load.rate_per_s
    capacity = benchmark.figures.get("capacity_per_s")
    if load.share_of_capacity is not None and capacity is not None:
        return load.share_of_capacity * capacity
    return point.rate_reached_per_s


def load_words(benchmark: Benchmark, point: Point) -> str:
    """4,000/s (50 % of capacity); 16 callers."""
    load = point.load
    if load.callers is not None:
        return f"{load.callers} caller{'' if load.callers == 1 else 's'}"
    share = "" if load.share_of_capacity is None else f" ({percent(load.share_of_capacity)} of capacity)"
    return rate(offered_per_s(benchmark, point)) + share


def state(point: Point) -> str:
    """Why a point counts for nothing; "" where it counts."""
    if point.valid:
        return ""
    return f"invalid: slip {percent(point.slip_share)}"


def dot(benchmark: Benchmark, point: Point, *, x: float, y: float, reading: str) -> Dot:
    """A point at its place, with what the pointer tells."""
    words = f"{benchmark.server}, {load_words(benchmark, point)}: {reading}"
    return Dot(x=x, y=y, title=f"{words}; {state(point)}" if state(point) else words, valid=point.valid)


def latency_table(benchmarks: Sequence[Benchmark]) -> Table:
    """All points of some benchmarks; with their labels where any has one."""
    labelled = any(point.label for one in benchmarks for point in one.points)
    rows = [
        Row(cells=_cells(one, point, labelled=labelled), state="" if point.valid else "invalid")
        for one in reversed(benchmarks)
        for point in one.points
    ]
    return Table(head=_PHASE_HEAD if labelled else _HEAD, rows=rows, words=3 if labelled else 2)


def remarks(benchmarks: Iterable[Benchmark]) -> Sequence[str]:
    """What the benchmarks say themselves, and how many of their points are invalid or empty."""
    known = list(benchmarks)
    said = [remark if one.server == OURS else f"{one.server}: {remark}" for one in known for remark in one.remarks]
    points = [point for one in known for point in one.points]
    bad = sum(not point.valid for point in points)
    if bad:
        said.append(
            f"{bad} of {len(points)} points {'is' if bad == 1 else 'are'} invalid and drawn as a cross: the generator "
            "sent more than 1 % of the requests late, so what was measured may be its own doing."
        )
    empty = sum(point.answered == 0 for point in points)
    if empty:
        said.append(f"{empty} of {len(points)} points got no answer at all and can be seen in the table only.")
    return said


def span(values: Sequence[float]) -> float:
    """How many times the largest is the smallest; 1 where there is none above 0."""
    known = [value for value in values if value > 0]
    return max(known) / min(known) if known else 1.0


def _cells(benchmark: Benchmark, point: Point, *, labelled: bool) -> Sequence[str]:
    latencies = (point.p50_ms, point.p90_ms, point.p99_ms, point.p99_9_ms, point.max_ms)
    return (
        benchmark.server,
        *((point.label,) if labelled else ()),
        load_words(benchmark, point),
        rate(point.rate_reached_per_s),
        *(milliseconds(value) if point.answered else "-" for value in latencies),
        ", ".join(f"{significant(count)} {name}" for name, count in point.failed.items() if count) or "0",
        percent(point.slip_share),
        state(point) or "yes",
    )
