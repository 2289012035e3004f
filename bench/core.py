"""Measures the core against its bars, prints one table and writes the results as JSON. See bench/README.md.

python -m bench.core [--quick] [--only GROUP]... [--turns N] [--seconds S] [--generator h2load|own] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import grpc

from bench.bars import Bar, Outcome
from bench.cases import CaseMissing
from bench.control import ROOT, ChildFailed
from bench.footprint import IDLE, MEMORY, READY, footprint
from bench.latency import LATENCY, latency
from bench.limits.rows import WrongAnswer
from bench.load.h2load import H2Load
from bench.load.own import Own
from bench.load.result import Generator, LoadFailed
from bench.surroundings import surroundings
from bench.throughput import GROUPS, Plan
from sardonyx_server.runtime.cores import available_cores

__all__: list[str] = []

_GROUPS: Final = {**GROUPS, "latency": (latency, (LATENCY,)), "footprint": (footprint, (MEMORY, IDLE, READY))}
_RESULTS: Final = ROOT / "build" / "bench"
_WIDTH: Final = 120
# Other work shifts even ratios: server and reference do not suffer from it alike.
_BUSY: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Depth:
    """Turns of each arm, and seconds of each turn."""

    turns: int
    seconds: float


_FULL: Final = _Depth(turns=6, seconds=3.0)
_QUICK: Final = _Depth(turns=3, seconds=0.8)


def main() -> int:
    """Measure; 0 where every bar could be measured, met or not, else 1."""
    given = _arguments()
    generator = _generator(given.generator)
    around = surroundings()
    depth = _QUICK if given.quick else _FULL
    plan = Plan(
        folder=Path(),
        generator=generator,
        cores=available_cores(),
        turns=given.turns or depth.turns,
        seconds=given.seconds or depth.seconds,
    )
    print(f"{around['cpu']}, {plan.cores} cores shared by server and load; {generator.name}")
    print(f"{plan.turns} turns of about {plan.seconds:g} s for each arm, in alternating order; median (min .. max)")
    if around["busy_cores_before"] > _BUSY:
        print(f"warning: other work kept {around['busy_cores_before']} cores busy in the last minute; expect noise")
    outcomes: list[Outcome] = []
    for name in given.only or _GROUPS:
        measure, bars = _GROUPS[name]
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        outcomes += _measure(measure, bars, plan)
    _print_table(outcomes)
    record = {
        **around,
        "generator": generator.name,
        "cores": plan.cores,
        "turns": plan.turns,
        "seconds": plan.seconds,
        "outcomes": [outcome.as_json() for outcome in outcomes],
    }
    _write(given.json, record)
    return int(any(not outcome.values for outcome in outcomes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.core", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under two minutes; wide spreads")
    parser.add_argument("--only", action="append", choices=_GROUPS, metavar="GROUP", help=f"of {', '.join(_GROUPS)}")
    parser.add_argument("--turns", type=int, help="how often each arm is measured")
    parser.add_argument("--seconds", type=float, help="about how long each turn of an arm takes")
    parser.add_argument("--generator", choices=("h2load", "own"), help="default: h2load where it is installed")
    parser.add_argument("--json", type=Path, help="where the results go; default: build/bench/core-DATE.json")
    return parser.parse_args()


def _generator(wanted: str | None) -> Generator:
    h2load = None if wanted == "own" else H2Load.installed()
    if h2load is not None:
        return h2load
    if wanted == "h2load":
        sys.exit("h2load is not installed (on Debian: apt-get install nghttp2-client)")
    print("warning: without h2load the project's own generator takes most of the cores; ratios say little")
    return Own(available_cores())


def _measure(measure: Callable[[Plan], list[Outcome]], bars: Sequence[Bar], plan: Plan) -> list[Outcome]:
    """Outcomes of a group; one that fails is reported and does not end the run."""
    try:
        with tempfile.TemporaryDirectory(prefix="sardonyx-bench-") as folder:
            return measure(replace(plan, folder=Path(folder)))
    except (CaseMissing, ChildFailed, LoadFailed, WrongAnswer, grpc.RpcError) as error:
        return [Outcome(bar=bar, values=(), remark=f"{type(error).__name__}: {error}") for bar in bars]


def _print_table(outcomes: Sequence[Outcome]) -> None:
    rows = [("bar", "target", "reached", "")]
    rows += [(one.bar.name, one.bar.wording, one.reached, one.verdict) for one in outcomes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row, remark in zip(rows, ("", *(one.remark for one in outcomes)), strict=True):
        print()
        print("  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip())
        if remark:
            print(fill(remark, _WIDTH, initial_indent="    ", subsequent_indent="    "))
    met = sum(one.verdict == "pass" for one in outcomes)
    print(f"\n{met} of {len(outcomes)} bars met")


def _write(path: Path | None, record: dict[str, Any]) -> None:
    file = path or _RESULTS / f"core-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")
    print(f"results: {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}")


if __name__ == "__main__":
    sys.exit(main())
