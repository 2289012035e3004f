"""The reports of other generators are read for what they say, and refused where they cannot be read."""

from __future__ import annotations

import pytest

from bench.load import h2load, perf_analyzer
from bench.store import Load
from sardonyx_server.load.loops import LoadGeneratorError

H2LOAD = """
finished in 2.00s, 500.00 req/s, 20.00KB/s
requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
traffic: 40.00KB (40000) total, 1.00KB (1000) headers (space savings 90.00%), 17.00KB (17000) data
                     min         max         mean         sd        +/- sd
time for request:      100us      9.00ms      1.50ms       200us    90.00%
"""
PERF_ANALYZER = """
  Client:
    Request count: 1500
    Throughput: 498.5 infer/sec
    Avg latency: 700 usec (standard deviation 100 usec)
    p50 latency: 651 usec
    p90 latency: 997 usec
    p95 latency: 1100 usec
    p99 latency: 1438 usec
"""


def test_h2load_is_read() -> None:
    """17 bytes of data for each answer: 12 and its frame of 5."""
    found = h2load.parse(H2LOAD, cpu_s=0.25, requests=1000, answer_bytes=12)
    assert (found.rate, found.mean_s, found.cpu_s) == (500.0, 0.0015, 0.25)


def test_answers_of_another_length_fail_h2load() -> None:
    """It counts an error status as a success; the bytes tell."""
    with pytest.raises(LoadGeneratorError, match="answers of 13 bytes to 1000 requests are 18000 bytes"):
        h2load.parse(H2LOAD, cpu_s=0.25, requests=1000, answer_bytes=13)


def test_perf_analyzer_is_read() -> None:
    """Microseconds become milliseconds."""
    found = perf_analyzer.parse(PERF_ANALYZER, Load(rate_per_s=500.0))
    assert (found.rate_reached_per_s, found.answered) == (498.5, 1500)
    assert (found.p50_ms, found.p90_ms, found.p99_ms) == (0.651, 0.997, 1.438)


def test_an_unknown_report_is_refused() -> None:
    """With its text."""
    with pytest.raises(LoadGeneratorError, match="cannot be read:\nNothing"):
        perf_analyzer.parse("Nothing", Load(rate_per_s=500.0))
