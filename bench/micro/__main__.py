"""Runs the micro benchmarks and prints one table: ``python -m bench.micro [--json FILE] [-k TEXT]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import pytest

from bench.results import new_file, tell_where
from bench.store import Benchmark, Run

__all__: list[str] = []

_HEAD: Final = ("benchmark", "median", "blocks held", "peak")
_NS: Final = 1e9
_KB: Final = 1e3


def main() -> int:
    """Measure, print, store. Returns pytest's exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description="Micro benchmarks of the hot path.")
    parser.add_argument("-k", default="", metavar="TEXT", help="only benchmarks whose name holds it")
    parser.add_argument("--json", type=Path, help="where the results go; default: build/bench/micro-DATE.json")
    given = parser.parse_args()
    file = new_file("micro", given.json)
    options = ["--quiet", "--no-header", "-p", "no:cacheprovider", "--benchmark-quiet", f"--benchmark-json={file}"]
    status = int(pytest.main([str(Path(__file__).parent), *options, *(["-k", given.k] if given.k else [])]))
    if not file.exists() or not file.stat().st_size:
        print("nothing was measured", file=sys.stderr)
        return status or 1
    print("\n".join(_lines(Run.read(file))))
    tell_where(file)
    return status


def _lines(run: Run) -> list[str]:
    rows = [_HEAD, *map(_row, run.benchmarks)]
    width = max(len(row[0]) for row in rows)
    return [f"{name:<{width}}  {median:>12}  {blocks:>11}  {peak:>10}" for name, median, blocks, peak in rows]


def _row(one: Benchmark) -> tuple[str, str, str, str]:
    figures = one.figures
    return (
        one.name,
        f"{figures['seconds'] * _NS:,.0f} ns",
        f"{figures['allocations']:.1f}",
        f"{figures['peak_bytes'] / _KB:,.1f} kB",
    )


if __name__ == "__main__":
    sys.exit(main())
