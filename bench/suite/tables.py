"""A stored run as a terminal table: a line for each benchmark, missed bars first. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Final

from bench.report.verdicts import State, Verdict, verdicts
from bench.store import Benchmark, Point, Run

__all__ = ["answer", "lines"]

_MB: Final = 1e6
_HALF: Final = 0.5


def lines(run: Run) -> list[str]:
    """The table, and what was on the machine."""
    judged = verdicts(run)
    # A benchmark may have two bars: the worse one comes first.
    bars: dict[str, Verdict] = {}
    for verdict in judged:
        bars.setdefault(verdict.benchmark.name, verdict)
    ordered = [verdict.benchmark for verdict in bars.values()]
    ordered += [one for one in run.benchmarks if one.name not in bars]
    rows = [("benchmark", "bar", "answer"), *((one.name, _bar(bars.get(one.name)), answer(one)) for one in ordered)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    met = sum(verdict.state is State.MET for verdict in judged)
    return [
        f"{run.cpu}, {run.cores} cores shared by servers and callers; commit {run.commit[:10]}",
        "",
        *(f"{name:<{widths[0]}}  {bar:<{widths[1]}}  {said}".rstrip() for name, bar, said in rows),
        "",
        f"{met} of {len(judged)} bars met; {_discarded(run)} of {_points(run)} points discarded",
    ]


def answer(benchmark: Benchmark) -> str:
    """What was found, in a few words."""
    say = _ANSWERS.get(benchmark.scenario)
    if say is None or not (benchmark.points or benchmark.figures):
        return "; ".join(benchmark.remarks)
    return say(benchmark)


def _bar(verdict: Verdict | None) -> str:
    return "" if verdict is None else f"{verdict.state.value}: {verdict.reading}, {verdict.wording}"


def _points(run: Run) -> int:
    return sum(len(one.points) for one in run.benchmarks)


def _discarded(run: Run) -> int:
    return sum(not point.valid for one in run.benchmarks for point in one.points)


def _single(one: Benchmark) -> str:
    point = one.points[0]
    return f"mean {point.mean_ms:.3f}, p99 {point.p99_ms:.3f} ms; {one.figures['of_floor']:.2f} x (echo + run)"


def _ladder(one: Benchmark) -> str:
    half = min(one.points, key=lambda point: abs((point.load.share_of_capacity or 0.0) - _HALF))
    late = [f"{point.load.share_of_capacity:.0%}" for point in one.points if not point.valid]
    said = f"p99 {half.p99_ms:.2f} ms at {half.load.rate_per_s:,.0f}/s (floor {_ms(half.floor_p99_ms)}); capacity "
    said += f"{one.figures['capacity_per_s']:,.0f}/s"
    for point in one.points:
        if point.rehearsed_p99_ms is not None:
            said += (
                f"; at {point.load.share_of_capacity:.0%} {point.p99_ms:.2f}, rehearsed {point.rehearsed_p99_ms:.2f}"
            )
    return said + (f"; discarded: {', '.join(late)}" if late else "")


def _closed(one: Benchmark) -> str:
    callers = one.points[-1].load.callers
    turns = [point for point in one.points if point.load.callers == callers]
    rate, allowance = (median(values) for values in zip(*map(_reached_and_allowed, turns), strict=True))
    return f"{rate:,.0f}/s to {callers} callers, allowance {allowance:,.0f}/s"


def _reached_and_allowed(point: Point) -> tuple[float, float]:
    return point.rate_reached_per_s, point.allowance_per_s or 0.0


def _overload(one: Benchmark) -> str:
    found = ", ".join(f"{point.load.share_of_capacity:g} x: {point.goodput_per_s or 0:,.0f}" for point in one.points)
    return f"in time a second at {found}"


def _labelled(one: Benchmark) -> str:
    found = (
        f"{label or 'all'} {median(point.p99_ms for point in points):.2f}{_mark(points)}"
        for label, points in _by_label(one)
    )
    return f"p99 {', '.join(found)} ms"


def _rates(one: Benchmark) -> str:
    return ", ".join(
        f"{label} {median(point.rate_reached_per_s for point in points):,.0f}/s" for label, points in _by_label(one)
    )


def _by_label(one: Benchmark) -> Iterable[tuple[str, Sequence[Point]]]:
    found: dict[str, list[Point]] = {}
    for point in one.points:
        found.setdefault(point.label, []).append(point)
    return found.items()


def _generators(one: Benchmark) -> str:
    found = ", ".join(f"{point.label} {point.p99_ms:.2f}" for point in one.points if point.load == one.points[-1].load)
    return f"p99 at {one.points[-1].load.rate_per_s:,.0f}/s by {found} ms"


def _reload(one: Benchmark) -> str:
    return f"{_labelled(one)}; {one.figures.get('lost', 0):.0f} lost"


def _limits(one: Benchmark) -> str:
    figures = one.figures
    if "echo_per_s" in figures:
        ways = f"{figures['in_process_runners']:.0f} x {figures['in_process_threads']:.0f} threads"
        found = (
            f"echo {figures['echo_per_s']:,.0f}/s; onnxruntime {figures['in_process_per_s']:,.0f} rows/s in runs of "
        )
        return found + f"{figures['in_process_rows']:.0f}, {ways}; server {figures['of_echo']:.2f} of the echo"
    if "cpp_echo_per_s" in figures:
        return f"echo in C++ {figures['cpp_echo_per_s']:,.0f}/s; server {figures['of_cpp_echo']:.2f} of it"
    return ", ".join(f"{name.removesuffix('_bytes_per_s')} {value / 1e9:.1f} GB/s" for name, value in figures.items())


def _figures(names: Sequence[tuple[str, str, float]]) -> Callable[[Benchmark], str]:
    """Figures with words that tell what they are, each divided by something."""
    return lambda one: "; ".join(
        words.format(one.figures[name] / by) for name, words, by in names if name in one.figures
    )


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _mark(points: Sequence[Point]) -> str:
    """Where all count nothing is said."""
    bad = sum(not point.valid for point in points)
    return f" ({f'{bad} of {len(points)} ' if len(points) > 1 else ''}discarded)" if bad else ""


_ANSWERS: Final[Mapping[str, Callable[[Benchmark], str]]] = {
    "single": _single,
    "ladder": _ladder,
    "closed": _closed,
    "bursts": _labelled,
    "overload": _overload,
    "mixed-models": _labelled,
    "mixed-shapes": _labelled,
    "large": _rates,
    "reload": _reload,
    "cancel-storm": _reload,
    "cold-start": _figures([("first_answer_s", "{:.2f} s", 1), ("first_of_all_s", "first of all {:.2f} s", 1)]),
    "idle": _figures([("idle_cpu_share", "{:.2%} of a core", 1), ("memory_bytes", "{:.0f} MB", _MB)]),
    "soak": _figures([("memory_slope_bytes_per_h", "{:+.2f} MB an hour", _MB), ("soak_s", "over {:.0f} s", 1)]),
    "limits": _limits,
    "generators": _generators,
    "micro": _figures(
        [
            ("seconds", "{:,.0f} ns", 1e-9),
            ("allocations", "{:.1f} blocks held", 1),
            ("peak_bytes", "{:,.1f} kB at most", 1e3),
        ]
    ),
}
