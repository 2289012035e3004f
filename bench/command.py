"""Command line of a set of bars: options, one table, a results file. The groups define what is measured.

    python -m bench.NAME [--quick] [--only GROUP]... [--turns N] [--seconds S] [--generator h2load|own] [--json FILE]

See bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Final, TypeAlias

import grpc

from bench.bars import Bar, Outcome
from bench.cases import CaseMissing
from bench.control import ChildFailed
from bench.environment import environment
from bench.limits.reference import WrongAnswer
from bench.load.builtin import BuiltinGenerator
from bench.load.h2load import H2Load
from bench.load.result import Generator
from bench.results import new_file, tell_where, warn_if_busy
from bench.testbed import Plan
from sardonyx_server.load.loops import LoadGeneratorError
from sardonyx_server.runtime.cores import available_cores

__all__ = ["Groups", "command"]

Groups: TypeAlias = Mapping[str, tuple[Callable[[Plan], list[Outcome]], tuple[Bar, ...]]]
"""Group -> (function that measures it, its bars, which are reported if it fails)."""

_WIDTH: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class _Depth:
    """Turns of each arm, and seconds of each turn."""

    turns: int
    seconds: float


_FULL: Final = _Depth(turns=6, seconds=3.0)
_QUICK: Final = _Depth(turns=3, seconds=0.8)


def command(name: str, about: str, groups: Groups, *, by_generator: bool = True, before: bool = False) -> int:
    """Measure what the command line asks for.

    Args:
        name: Module under ``bench``, also in the name of the results file.
        about: One line for ``--help``.
        groups: Available groups.
        by_generator: Whether any group uses a load generator.
        before: Whether any group can compare with an earlier commit (``--before``).

    Returns:
        Exit status: 0 if every bar could be measured, met or not, else 1.
    """
    given = _arguments(name, about, groups, before=before)
    generator = _generator(given.generator) if by_generator else BuiltinGenerator(available_cores())
    around = environment(name)
    depth = _QUICK if given.quick else _FULL
    plan = Plan(
        folder=Path(),
        generator=generator,
        cores=available_cores(),
        turns=given.turns or depth.turns,
        seconds=given.seconds or depth.seconds,
        before=given.before if before else "",
    )
    tool = f"; {generator.name}" if by_generator else ""
    print(f"{around['cpu']}, {plan.cores} cores shared by servers and callers{tool}")
    print(f"{plan.turns} turns of about {plan.seconds:g} s for each arm, in alternating order; median (95 % interval)")
    warn_if_busy(around["busy_cores_before"])
    outcomes: list[Outcome] = []
    for group in given.only or groups:
        measure, bars = groups[group]
        print(f"measuring {group} ...", file=sys.stderr, flush=True)
        outcomes += _measure(measure, bars, plan)
    _print_table(outcomes)
    record = {
        **around,
        "generator": generator.name if by_generator else "",
        "cores": plan.cores,
        "turns": plan.turns,
        "seconds": plan.seconds,
        "outcomes": [outcome.as_json() for outcome in outcomes],
    }
    file = new_file(name, given.json)
    file.write_text(json.dumps(record, indent=1) + "\n")
    tell_where(file)
    return int(any(not outcome.values for outcome in outcomes))


def _arguments(name: str, about: str, groups: Groups, *, before: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="short turns and few; wide spreads")
    parser.add_argument("--only", action="append", choices=groups, metavar="GROUP", help=f"of {', '.join(groups)}")
    parser.add_argument("--turns", type=int, help="how often each arm is measured")
    parser.add_argument("--seconds", type=float, help="about how long each turn of an arm takes")
    parser.add_argument("--generator", choices=("h2load", "own"), help="default: h2load where it is installed")
    parser.add_argument("--json", type=Path, help=f"where the results go; default: build/bench/{name}-DATE.json")
    if before:
        parser.add_argument("--before", default="", metavar="COMMIT", help="compare with the server of that commit too")
    return parser.parse_args()


def _generator(wanted: str | None) -> Generator:
    h2load = None if wanted == "own" else H2Load.installed()
    if h2load is not None:
        return h2load
    if wanted == "h2load":
        sys.exit("h2load is not installed (on Debian: apt-get install nghttp2-client)")
    print("warning: without h2load the project's own generator takes most of the cores; ratios say little")
    return BuiltinGenerator(available_cores())


def _measure(measure: Callable[[Plan], list[Outcome]], bars: Sequence[Bar], plan: Plan) -> list[Outcome]:
    """Outcomes of a group. A group that fails is reported, and does not end the run."""
    try:
        with tempfile.TemporaryDirectory(prefix="sardonyx-bench-") as folder:
            return measure(replace(plan, folder=Path(folder)))
    except (CaseMissing, ChildFailed, LoadGeneratorError, WrongAnswer, grpc.RpcError) as error:
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
