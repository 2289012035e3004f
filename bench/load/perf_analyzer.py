"""Load by perf_analyzer, NVIDIA's generator on Triton's C++ client, to validate our own generator.

It generates random data from the model's signature, and counts latency from when a request was actually sent.
"""

from __future__ import annotations

import re
from typing import Final

from bench.store import Load, Point
from sardonyx_server.load.loops import LoadGeneratorError
from tests.conformance.perf_analyzer import run
from tests.conformance.tools import PERF_ANALYZER

__all__ = ["NAME", "is_there", "measure", "parse"]

NAME: Final = f"perf_analyzer {PERF_ANALYZER.version}"
# It measures at least three windows, until the last three agree; here any three are accepted.
_WINDOWS: Final = 3
_CONTENT: Final = ("--stability-percentage", "999", "--max-trials", str(_WINDOWS))
_MS: Final = 1e3
_RATE: Final = re.compile(r"Throughput: ([\d.]+) infer/sec")
_REQUESTS: Final = re.compile(r"Request count: (\d+)")
_LATENCY: Final = re.compile(r"^\s+p(50|90|99) latency: (\d+) usec", re.MULTILINE)


def is_there() -> bool:
    """Whether it is installed: ``make bench-generators`` does that."""
    return PERF_ANALYZER.is_there


def measure(address: str, model: str, load: Load, seconds: float) -> Point:
    """Put a load on a model. Blocks.

    Raises:
        LoadGeneratorError: perf_analyzer failed.
    """
    flags = ["-m", model, "--measurement-interval", str(round(seconds / _WINDOWS * _MS)), *_CONTENT]
    if load.kind == "closed":
        flags += ["--concurrency-range", str(load.callers)]
    else:
        flags += ["--request-rate-range", str(load.rate_per_s), "--request-distribution", str(load.arrivals)]
    done = run(address, *flags)
    if done.returncode:
        raise LoadGeneratorError(f"perf_analyzer ended with status {done.returncode}:\n{done.stdout}")
    return parse(done.stdout, load)


def parse(report: str, load: Load) -> Point:
    """Read a report.

    Raises:
        LoadGeneratorError: It cannot be read.
    """
    rate, requests, latencies = _RATE.search(report), _REQUESTS.search(report), dict(_LATENCY.findall(report))
    if rate is None or requests is None or latencies.keys() != {"50", "90", "99"}:
        raise LoadGeneratorError(f"the report of perf_analyzer cannot be read:\n{report}")
    p50_ms, p90_ms, p99_ms = (int(latencies[each]) / _MS for each in ("50", "90", "99"))
    return Point(
        load=load,
        label=NAME,
        rate_reached_per_s=float(rate[1]),
        answered=int(requests[1]),
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
    )
