"""The shape of a closed loop, the result of a load, and the interface of load generators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sardonyx_server.load.loops import Target

__all__ = ["Generator", "LoadResult", "Streams", "requests_for", "whole_rounds"]

# The first loads determine how many requests fill the requested time, and warm up the server.
_FIRST_ROUNDS: Final = 5
_CALIBRATION_S: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The shape of a closed loop: each stream sends its next request when it has its response.

    Attributes:
        connections: To the server.
        streams: Requests in flight on each.
        http1: The request is the body of a POST over HTTP/1.1, one at a time on a connection. h2load only.
    """

    connections: int
    streams: int
    http1: bool = False

    @property
    def concurrency(self) -> int:
        """Total requests in flight."""
        return self.connections * self.streams

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """One run.

    Attributes:
        requests: Sent and answered; none failed.
        seconds: From the first request to the last answer.
        cpu_s: CPU seconds of the generator.
        mean_s: Mean latency.
        median_s: Median latency; None if latencies were not recorded.
        p99_s: 99th percentile; likewise.
        histogram: All latencies in HdrHistogram's encoded form, in ns; "" likewise.
    """

    requests: int
    seconds: float
    cpu_s: float
    mean_s: float
    median_s: float | None = None
    p99_s: float | None = None
    histogram: str = ""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


class Generator(Protocol):
    """A load generator."""

    @property
    def name(self) -> str:
        """Name and version."""

    def run(self, target: Target, streams: Streams, *, requests: int, record_each: bool) -> LoadResult:
        """Send ``requests`` requests. Blocks.

        Args:
            target: Address, one message, and the length of every response.
            streams: Connections and streams.
            requests: Number of requests.
            record_each: Record each latency, for percentiles; costs the generator a little.

        Raises:
            LoadGeneratorError: A request failed or had another answer.
        """


def requests_for(run: Callable[[int], LoadResult], concurrency: int, seconds: float) -> int:
    """How many requests take about ``seconds``. Blocks while it measures fewer.

    Args:
        run: Sends a number of requests.
        concurrency: Requests under way at once.
        seconds: Wanted.
    """
    found = run(concurrency * _FIRST_ROUNDS)
    found = run(whole_rounds(found.rate * min(seconds, _CALIBRATION_S), concurrency))
    return whole_rounds(found.rate * seconds, concurrency)


def whole_rounds(requests: float, concurrency: int) -> int:
    """About so many requests, in whole rounds of all streams, so that all connections end together."""
    return max(1, round(requests / concurrency)) * concurrency
