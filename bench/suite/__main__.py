"""Runs the suite: a Sardonyx server under the loads of bench/README.md. Writes a table, a results file and a report.

    python -m bench.suite [--quick] [--soak | --generators] [--only TEXT]... [--seed N] [--json FILE]

The benchmarks are pytest tests with pytest-benchmark, in ``test_*.py`` beside this file.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from bench.control import ROOT
from bench.environment import busy_cores
from bench.results import new_file, tell_where, warn_if_busy
from bench.store import Run
from bench.suite.plan import SOAK_S
from bench.suite.tables import lines
from tests.conformance.tools import PERF_ANALYZER, Tool, ToolMissing

__all__: list[str] = []

_SUITE: Final = Path(__file__).parent
_MICRO: Final = ROOT / "bench" / "micro"
_PYTEST: Final = (
    "--capture=no",  # progress is shown
    "--verbose",
    "--override-ini=console_output_style=count",
    "--no-header",
    "--tb=short",
    "-p",
    "no:cacheprovider",
    "--benchmark-quiet",  # its table is of times that a whole benchmark took
)


def main() -> int:
    """Measure, print, store, draw. Returns pytest's exit status."""
    given = _arguments()
    file = new_file("suite", given.json)
    warn_if_busy(busy_cores())
    told = shlex.join(["python", "-m", "bench.suite", *sys.argv[1:]])
    soak_s = given.soak_s or (SOAK_S if given.soak else 0.0)
    options = [f"--benchmark-json={file}", f"--seed={given.seed}", f"--soak-s={soak_s}", f"--told={told}"]
    if given.generators:
        _install(PERF_ANALYZER)
    options += [f"--{name}" for name in ("quick", "generators") if getattr(given, name)]
    options += [f"--only={text}" for text in given.only]
    places = [_SUITE] if given.quick or given.generators or soak_s else [_SUITE, _MICRO]
    status = int(pytest.main([*map(str, places), *_PYTEST, *options]))
    if not file.exists() or not file.stat().st_size:
        print("nothing was measured")
        return status or 1
    print("\n" + "\n".join(lines(Run.read(file))))
    tell_where(file)
    if find_spec("bench.report") is not None:
        subprocess.run([sys.executable, "-m", "bench.report", str(file)], cwd=ROOT, check=True)  # noqa: S603  # our own
    return status


def _install(tool: Tool) -> None:
    """Install a tool, or print why that is not possible."""
    try:
        tool.install()
    except ToolMissing as missing:
        print(f"{tool.name} cannot be installed: {missing}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer points and shorter loads: about two minutes")
    parser.add_argument("--soak", action="store_true", help="only the soak: half an hour")
    parser.add_argument("--soak-s", type=float, default=0.0, help="only the soak, for so long")
    parser.add_argument("--generators", action="store_true", help="only the check of our generator with others")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="benchmarks whose name holds it")
    parser.add_argument("--seed", type=int, default=0, help="of arrivals")
    parser.add_argument("--json", type=Path, help="where the results go; default: build/bench/suite-DATE.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
