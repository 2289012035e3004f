"""Descriptions of a load (an open loop at a rate, or a closed loop of callers) and of its target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from sardonyx_server.load.arrivals import Arrivals

__all__ = ["ClosedLoop", "Load", "LoadGeneratorError", "OpenLoop", "Target"]


class LoadGeneratorError(RuntimeError):
    """The load could not be generated: no connection, or a worker exited. There is no usable result.

    A failed request is not such an error: it is counted. Only a comparison that needs every answer raises this for one.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop:
    """Requests are sent when they are due, regardless of earlier ones.

    Attributes:
        rate: Requests per second of all workers together; > 0.
        arrivals: Their distribution over time.
        seed: Of Poisson arrivals.
    """

    rate: float
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.rate:,.6g}/s, {self.arrivals.value} arrivals"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """Callers that each send their next request when they have the answer to the previous one.

    Attributes:
        concurrency: Number of callers; at least 1.
        requests: Total number of requests after which the run ends early; None = it ends by time only.
    """

    concurrency: int
    requests: int | None = None

    def __str__(self) -> str:
        return f"{self.concurrency} caller{'s' if self.concurrency != 1 else ''} in a closed loop"


Load: TypeAlias = OpenLoop | ClosedLoop


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is sent where.

    Attributes:
        address: ``host:port``.
        method: Full name of the method, with the leading slash.
        messages: Serialised requests, sent in turn; at least one.
        answer_bytes: Expected length of every serialised answer; any other counts as a failure. None = not checked.
        timeout_s: Timeout of each request.
        metadata: Sent with each request: names in lower case, values of printable ASCII. May hold a secret.
    """

    address: str
    method: str
    messages: tuple[bytes, ...]
    answer_bytes: int | None = None
    timeout_s: float = 10.0
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
