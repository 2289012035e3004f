"""perf_analyzer, NVIDIA's load generator on Triton's C++ client, in its modes, on both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.conformance.perf_analyzer import measure
from tests.conformance.table import WHAT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.e2e.servers import Server


_METRICS: Final = "{metrics}"
_STREAM: Final = ("--async", "--streaming", "--concurrency-range", "8")
_SHARED: Final = ("--shared-memory", "system", "--output-shared-memory-size", "4096")
# {metrics} stands for the address of the server's metrics.
MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "concurrency": ("--concurrency-range", "1:4:3"),
    "request rate, Poisson arrivals": ("--request-rate-range", "200", "--request-distribution", "poisson"),
    "async": ("--async", "--concurrency-range", "8"),
    "streaming": _STREAM,
    "shared memory": (*_SHARED, "--concurrency-range", "4"),
    "streaming in shared memory": (*_STREAM, *_SHARED),
    "batches of 4": ("-b", "4", "--concurrency-range", "4"),
    "gzip": ("--grpc-compression-algorithm", "gzip"),
    "metrics collected": ("--collect-metrics", "--metrics-url", _METRICS, "--metrics-interval", "100"),
    "traces": ("--trace-level", "TIMESTAMPS", "--trace-rate", "100", "--trace-count", "10"),
    "strings": ("-m", "identity_bytes", "--string-length", "20"),
}


@pytest.mark.parametrize("name", MODES)
def test_it_measures_in_this_mode(server: Server, name: str, record_property: Callable[[str, object], None]) -> None:
    """To its end, with status 0; and the server has counted what it sent."""
    record_property(WHAT, name)
    flags = (flag.replace(_METRICS, server.app.metrics_url) for flag in MODES[name])
    measured = measure(server.app.address, *flags)
    assert measured.status == 0, measured.printed
    assert measured.requests > 0, measured.printed
    assert measured.throughput > 0, measured.printed
    # It reads the server's count a moment before and after its own.
    assert measured.server_requests >= 0.9 * measured.requests, measured.printed
    server.settle()
