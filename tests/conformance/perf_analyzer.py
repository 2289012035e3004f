"""Starts perf_analyzer and reads what it prints. Judges nothing."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.conformance.tools import PERF_ANALYZER

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Measured", "measure", "run"]

# Short and without patience for steady numbers: what is tested is that it measures, not what.
_BRIEF: Final = ("--measurement-interval", "300", "--stability-percentage", "999", "--max-trials", "5")
_LIMIT_S: Final = 120.0
_COUNTS: Final = {
    "requests": re.compile(r"Request count: (\d+)"),
    "server_requests": re.compile(r"Successful request count: (\d+)"),
    "throughput": re.compile(r"Throughput: ([\d.]+) infer/sec"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of the tool came to.

    Attributes:
        status: Its exit status; 0 where it was content.
        printed: All that it printed.
        requests: Sent by it in the windows that counted.
        server_requests: The server's own count of them, by ModelStatistics.
        throughput: Inferences a second.
    """

    status: int
    printed: str
    requests: float
    server_requests: float
    throughput: float


def measure(address: str, *flags: str | Path) -> Measured:
    """Run the tool; on the model ``affine`` where the flags name none. Blocks for some seconds."""
    PERF_ANALYZER.require()
    model = () if "-m" in flags else ("-m", "affine")
    done = run(address, *model, *_BRIEF, *flags)
    found = {name: pattern.search(done.stdout) for name, pattern in _COUNTS.items()}
    return Measured(
        status=done.returncode,
        printed=done.stdout,
        **{name: float(match[1]) if match else 0.0 for name, match in found.items()},
    )


def run(address: str, *flags: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the tool to its end, with what it prints as text. Requires: it is installed."""
    folder = PERF_ANALYZER.folder
    libraries = (*folder.glob("debian/usr/lib/*"), *folder.glob("lib/python3*/site-packages/nvidia/cuda_runtime/lib"))
    return subprocess.run(
        [folder / "bin/perf_analyzer", "-i", "grpc", "-u", address, *flags],
        env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
