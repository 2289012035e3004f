"""What a load is, and what a load generator found. Generates no load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Generator", "Load", "LoadFailed", "LoadResult", "Target"]


class LoadFailed(RuntimeError):
    """Requests failed, or answers were not the ones expected: the run counts for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A closed loop: each stream sends its next request when it has its answer.

    Attributes:
        connections: HTTP/2 connections.
        streams: Requests under way on each.
    """

    connections: int
    streams: int

    @property
    def concurrency(self) -> int:
        """Requests under way in all."""
        return self.connections * self.streams

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is sent where.

    Attributes:
        address: Host and port.
        method: Full name of the method, with the leading slash.
        request: The serialised message; every request is the same.
        answer_bytes: Length of the serialised answer; another length fails the run.
        http1: No gRPC: the request is the body of a POST over HTTP/1.1. h2load only.
    """

    address: str
    method: str
    request: bytes
    answer_bytes: int
    http1: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """One run.

    Attributes:
        requests: Sent and answered; none failed.
        seconds: From the first request to the last answer.
        cpu_s: CPU seconds of the generator.
        mean_s: Mean latency.
        median_s: Median latency; None where single latencies were not recorded.
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

    def run(self, target: Target, load: Load, *, requests: int, each: bool) -> LoadResult:
        """Send ``requests`` requests. Blocks.

        Args:
            target: What to send where.
            load: How.
            requests: How many.
            each: Record each latency, for percentiles; costs the generator a little.

        Raises:
            LoadFailed: A request failed or had another answer.
        """
