"""Our generator beside two that others wrote, on the same server: do they find the same?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

import pytest

from bench.arms import fetch_answer
from bench.cases import Case, make
from bench.load import perf_analyzer
from bench.load.h2load import H2Load
from bench.placement import punctual
from bench.serving import Server, serving
from bench.store import Load, Point
from bench.suite.closed_loop import closed
from bench.suite.findings import Findings, Recorder
from bench.suite.measuring import load_target, measure
from bench.suite.plan import Plan

_OWN: Final = "sardonyx bench"
_H2LOAD: Final = "h2load"
_MODEL: Final = "mlp"
_LOADS: Final = (
    Load(kind="closed", callers=1),
    Load(kind="closed", callers=16),
    Load(arrivals="poisson", rate_per_s=500.0),
    Load(arrivals="poisson", rate_per_s=2000.0),
)
_TURNS: Final = 3

Wire: TypeAlias = Callable[[Load], Point]
"""Puts a load on the server, by one of the generators."""


@pytest.mark.generators
def test_three_generators_on_one_server(
    plan: Plan, record: Recorder, folder: Callable[[], Path], say: Callable[[str], None]
) -> None:
    """Does our generator find what h2load and perf_analyzer find?"""
    h2load = H2Load.installed()
    if h2load is None or not perf_analyzer.is_there():
        pytest.skip("needs h2load (Debian: nghttp2-client) and perf_analyzer (make bench-generators installs it)")

    def run() -> Findings:
        case = make(_MODEL, folder())
        with serving(case.repository) as server:
            size = len(fetch_answer(server.address, case.request))
            with load_target(server, [case.request], model=case.name, answer_bytes=size) as target:
                ways = {
                    _OWN: lambda load: measure(target, load, plan.rate_s, plan.seed),
                    _H2LOAD: _by_h2load(h2load, server, case, size, plan),
                    perf_analyzer.NAME: _by_perf_analyzer(server, case, plan),
                }
                points = _in_turns(ways)
        for point in points:
            say(_words(point))
        return Findings(points=points, remarks=[f"{_TURNS} turns in alternating order, medians; {_MODEL}"])

    record("generators", run)


def _by_h2load(h2load: H2Load, server: Server, case: Case, size: int, plan: Plan) -> Wire:
    return lambda load: closed(
        h2load, server, case.request, size, callers=load.callers or 1, seconds=plan.rate_s, model=case.name
    )


def _by_perf_analyzer(server: Server, case: Case, plan: Plan) -> Wire:
    def way(load: Load) -> Point:
        # It inherits the priority that ours has.
        with punctual([os.getpid()], server.tree()) if load.kind == "open" else nullcontext():
            return perf_analyzer.measure(server.address, case.name, load, plan.rate_s)

    return way


def _in_turns(ways: Mapping[str, Wire]) -> list[Point]:
    """Every load by every generator that has such loads, in alternating order; the middle turn of each."""
    found: dict[tuple[Load, str], list[Point]] = {}
    for turn in range(_TURNS):
        for load in _LOADS:
            for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
                if name != _H2LOAD or load.kind == "closed":
                    found.setdefault((load, name), []).append(ways[name](load))
    points = [_middle(turns, name) for (_, name), turns in found.items()]
    return sorted(points, key=lambda point: (_LOADS.index(point.load), point.label))


def _middle(turns: list[Point], name: str) -> Point:
    """The turn with the median p99."""
    middle = median(point.p99_ms for point in turns)
    return replace(min(turns, key=lambda point: abs(point.p99_ms - middle)), label=name)


def _words(point: Point) -> str:
    load = f"{point.load.callers} callers" if point.load.callers else f"{point.load.rate_per_s:g}/s"
    return (
        f"{load:<11} {point.label:<21} {point.rate_reached_per_s:>7,.0f}/s  p50 {point.p50_ms:.3f}  "
        f"p90 {point.p90_ms:.3f}  p99 {point.p99_ms:.3f} ms"
    )
