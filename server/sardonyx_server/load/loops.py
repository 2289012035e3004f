"""What a load is: an open loop at a rate, or a closed loop of callers; and where it goes. Sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sardonyx_server.load.arrivals import Arrivals

__all__ = ["ClosedLoop", "Load", "LoadFailed", "OpenLoop", "Target"]


class LoadFailed(RuntimeError):
    """The load could not be made: no connection, or a sending process ended. What there is of it counts for nothing.

    To a fleet a request that fails is no such thing: it is counted. To a comparison that needs every answer it is.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop:
    """Requests are sent when they are due, whatever has become of those before.

    Attributes:
        rate: Requests a second, of all processes together; > 0.
        arrivals: How they are spread over time.
        seed: Of Poisson arrivals.
    """

    rate: float
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.rate:,.6g}/s, {self.arrivals.value} arrivals"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """Callers that each send their next request when they have their answer.

    Attributes:
        concurrency: Callers; at least 1.
        requests: Ends after so many, where that comes before the time is up; None = only the time ends it.
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
        address: Host and port.
        method: Full name of the method, with the leading slash.
        messages: Serialised requests, sent in turn; at least one.
        answer_bytes: Length of every serialised answer; another one counts as failed. None = any.
        timeout_s: Of each request.
    """

    address: str
    method: str
    messages: tuple[bytes, ...]
    answer_bytes: int | None = None
    timeout_s: float = 10.0
