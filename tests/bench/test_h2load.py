"""Reports of h2load: what counts as a run in which every request was answered."""

from __future__ import annotations

import pytest

from bench.load.h2load import parse
from sardonyx_server.load.loops import LoadGeneratorError

_REPORT = """
finished in 250.00ms, 8000.00 req/s, 1.00MB/s
requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout
traffic: 291.02KB (298000) total, 183.59KB (188000) headers (space savings 0.00%), 39.06KB (40000) data
time for request:     1.50ms      9.88ms      7.61ms      1.12ms    80.35%
"""


def test_a_report_over_http1_counts_bare_answers() -> None:
    """No frame stands before them."""
    found = parse(_REPORT, cpu_s=0.1, requests=2000, answer_bytes=20, frame_bytes=0)
    assert (found.requests, found.seconds, found.mean_s) == pytest.approx((2000, 0.25, 0.00761))


def test_a_report_over_grpc_counts_the_frame_of_each_answer() -> None:
    """Five bytes each."""
    assert parse(_REPORT, cpu_s=0.1, requests=2000, answer_bytes=15).requests == 2000


def test_other_bytes_than_the_answers_fail_the_run() -> None:
    """An error status of gRPC is a success to h2load, but has no message."""
    with pytest.raises(LoadGeneratorError, match="calls ended with an error status, or with another answer"):
        parse(_REPORT, cpu_s=0.1, requests=2000, answer_bytes=20)
