"""The micro benchmarks still fit the code that they measure."""

from __future__ import annotations

import subprocess
import sys

from bench.control import ROOT


def test_every_micro_benchmark_runs_and_finds_its_result_right() -> None:
    """Once each, without timing anything."""
    command = [sys.executable, "-m", "pytest", "bench/micro", "--benchmark-disable", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
