"""Shared by the figures: points by model and server, repeats merged into one dot, points as text and table rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.report.formatting import milliseconds, percent, rate, significant
from bench.report.plot import Dot, Row, Table
from bench.store import Benchmark, Point, Run

__all__ = [
    "OURS",
    "LabelledPoint",
    "ServerPoints",
    "by_model",
    "commands",
    "dots",
    "identifier",
    "latency_table",
    "remarks",
    "span",
    "warnings",
]

OURS: Final = "sardonyx"
_HEAD: Final = ("server", "load", "answered", "p50", "p90", "p99", "p99.9", "max", "failed", "slip", "counts")
_PHASE_HEAD: Final = (*_HEAD[:1], "phase", *_HEAD[1:])
# Rates of repeats are the same number; those of two servers that were to get the same load differ in the last digits.
_SAME: Final = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPoint:
    """A point with its benchmark."""

    benchmark: Benchmark
    point: Point

    @property
    def offered_per_s(self) -> float:
        """The offered rate; the rate reached if only that is known."""
        load = self.point.load
        if load.rate_per_s is not None:
            return load.rate_per_s
        if load.share_of_capacity is not None and self._capacity_per_s is not None:
            return load.share_of_capacity * self._capacity_per_s
        return self.point.rate_reached_per_s

    @property
    def share(self) -> float | None:
        """Load as a share of this server's capacity; None if that was not measured."""
        return None if self._capacity_per_s is None else self.point.load.share_of_capacity

    @property
    def words(self) -> str:
        """The load as text, such as ``4,000/s (50 % of capacity)`` or ``16 callers``."""
        callers = self.point.load.callers
        if callers is not None:
            return f"{callers} caller{'' if callers == 1 else 's'}"
        return rate(self.offered_per_s) + ("" if self.share is None else f" ({percent(self.share)} of capacity)")

    @property
    def state(self) -> str:
        """Why it is invalid; "" if it is valid."""
        return "" if self.point.valid else f"invalid: slip {percent(self.point.slip_share)}"

    @property
    def _capacity_per_s(self) -> float | None:
        return self.benchmark.figures.get("capacity_per_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPoints:
    """All points of one server for a model in a scenario.

    Attributes:
        server: Name of the server.
        benchmarks: At least one.
    """

    server: str
    benchmarks: Sequence[Benchmark]

    @property
    def all(self) -> Sequence[LabelledPoint]:
        """Every point, as stored."""
        return [LabelledPoint(benchmark=one, point=point) for one in self.benchmarks for point in one.points]

    @property
    def answered(self) -> Sequence[LabelledPoint]:
        """Those that have latencies."""
        return [one for one in self.all if one.point.answered]

    def figure(self, name: str) -> float | None:
        """A figure of the first benchmark that has it."""
        return next((one.figures[name] for one in self.benchmarks if name in one.figures), None)


def by_model(run: Run, scenario: str) -> Mapping[str, Sequence[ServerPoints]]:
    """Model -> servers with points in a scenario; Sardonyx last, so that it is drawn on top."""
    found: dict[str, dict[str, list[Benchmark]]] = {}
    for one in run.benchmarks:
        if one.scenario == scenario and one.points:
            found.setdefault(one.model, {}).setdefault(one.server, []).append(one)
    return {
        model: sorted(
            (ServerPoints(server=server, benchmarks=benchmarks) for server, benchmarks in servers.items()),
            key=lambda served: served.server == OURS,
        )
        for model, servers in found.items()
    }


def dots(
    measured: Iterable[LabelledPoint],
    *,
    x: Callable[[LabelledPoint], float],
    y: Callable[[LabelledPoint], float],
    words: Callable[[float], str],
) -> Sequence[Dot]:
    """From left to right; valid repeats at one place are one dot, their median, with their range.

    Args:
        measured: Points of one server.
        x: x value of a point.
        y: y value of a point.
        words: Formats a y value, for the tooltip.
    """
    places: list[list[LabelledPoint]] = []
    for one in sorted(measured, key=lambda one: (x(one), not one.point.valid)):
        last = places[-1][-1] if places else None
        if last and last.point.valid and one.point.valid and math.isclose(x(last), x(one), rel_tol=_SAME):
            places[-1].append(one)
        else:
            places.append([one])
    return [_dot(place, x(place[0]), [y(one) for one in place], words) for place in places]


def _dot(place: Sequence[LabelledPoint], x: float, heights: Sequence[float], words: Callable[[float], str]) -> Dot:
    first, middle = place[0], median(heights)
    told = f"{first.benchmark.server}, {first.words}: {words(middle)}"
    if len(place) > 1:
        told += f", {words(min(heights))} to {words(max(heights))} in {len(place)} repeats"
    return Dot(
        x=x,
        y=middle,
        reach=(min(heights), max(heights)) if len(place) > 1 else None,
        title=f"{told}; {first.state}" if first.state else told,
        valid=first.point.valid,
    )


def commands(served: Iterable[ServerPoints], run: Run) -> Sequence[str]:
    """What made a figure: the benchmarks' own commands, or else that of the run."""
    own = list(dict.fromkeys(one.command for server in served for one in server.benchmarks if one.command))
    return own or [run.command]


def identifier(*words: str) -> str:
    """An HTML id from any text: letters and digits are kept, other characters become their code.

    Different texts give different ids.
    """
    return "-".join(
        "".join(letter if letter.isascii() and letter.isalnum() else f"_{ord(letter):x}" for letter in word)
        for word in words
    )


def latency_table(served: Iterable[ServerPoints]) -> Table:
    """All points as a table, with labels if any has one; Sardonyx first."""
    measured = [one for server in reversed(list(served)) for one in server.all]
    labelled = any(one.point.label for one in measured)
    rows = [Row(cells=_cells(one, labelled=labelled), state="" if one.point.valid else "invalid") for one in measured]
    return Table(head=_PHASE_HEAD if labelled else _HEAD, rows=rows, words=3 if labelled else 2)


def remarks(served: Iterable[ServerPoints]) -> Sequence[str]:
    """What the benchmarks say themselves, each sentence once."""
    return list(dict.fromkeys(text for server in served for one in server.benchmarks for text in one.remarks))


def warnings(served: Iterable[ServerPoints]) -> Sequence[str]:
    """How many points are invalid or empty."""
    points = [one.point for server in served for one in server.all]
    said = []
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


def span(values: Iterable[float]) -> float:
    """Ratio of the largest to the smallest value above 0; 1 if there is none."""
    known = [value for value in values if value > 0]
    return max(known) / min(known) if known else 1.0


def _cells(measured: LabelledPoint, *, labelled: bool) -> Sequence[str]:
    point = measured.point
    latencies = (point.p50_ms, point.p90_ms, point.p99_ms, point.p99_9_ms, point.max_ms)
    return (
        measured.benchmark.server,
        *((point.label,) if labelled else ()),
        measured.words,
        rate(point.rate_reached_per_s),
        *(milliseconds(value) if point.answered else "-" for value in latencies),
        ", ".join(f"{significant(count)} {name}" for name, count in point.failed.items() if count) or "0",
        percent(point.slip_share),
        measured.state or "yes",
    )
