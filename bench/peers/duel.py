"""Two servers that are up at the same time, under the same loads in turns: A B, B A, A B, ... Starts no server.

A turn gives one figure of each, and so one ratio; see verdict.py for what is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from bench.load.h2load import H2Load
from bench.load.http1 import HTTP1_WORKER
from bench.load.result import Load, Target
from bench.store import Load as StoredLoad
from bench.store import Point
from bench.suite.measuring import GRPC, Way, measure, with_latencies
from bench.suite.measuring import Target as Aimed
from bench.suite.serving import Server
from sardonyx_server.load.latencies import Latencies

__all__ = ["CALLERS", "Contender", "Pair", "at_equal_rates", "closed_loop", "rate_in"]

CALLERS: Final = 64
"""Requests under way in a closed loop: 8 connections x 8 streams over gRPC, 64 connections over HTTP/1.1."""

_GRPC: Final = Load(connections=8, streams=8)
_HTTP1: Final = Load(connections=CALLERS, streams=1)
_FIRST_REQUESTS: Final = 4 * CALLERS
_CALIBRATION_S: Final = 0.4
# Of 100 a p99 is the slowest but one, and says nothing that a second turn would say again.
_LEAST_REQUESTS: Final = 300
_MAX_SECONDS: Final = 5.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server and what it is sent.

    Attributes:
        name: As a stored run has it.
        server: Up.
        target: Request and answer; of HTTP/1.1 where it speaks no gRPC.
        model: Whose batches and stages are read, where it tells of them; "" = it speaks no gRPC.
    """

    name: str
    server: Server
    target: Target
    model: str = ""

    @property
    def load(self) -> Load:
        """The closed loop of :data:`CALLERS` in its protocol."""
        return _HTTP1 if self.target.http1 else _GRPC

    @property
    def way(self) -> Way:
        """Of the open loops, over as many connections."""
        if not self.target.http1:
            return GRPC
        return Way(method=self.target.method, worker=HTTP1_WORKER, connections=_HTTP1.connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What one turn found.

    Attributes:
        ours: Of Sardonyx.
        theirs: Of the peer.
    """

    ours: Point
    theirs: Point


def rate_in(contender: Contender, generator: H2Load, seconds: float) -> float:
    """Answers a second in a closed loop of about so long, the server warm. Blocks.

    Raises:
        LoadFailed: A request failed, or had an answer of another length.
    """
    load, target = contender.load, contender.target
    found = generator.run(target, load, requests=_FIRST_REQUESTS, each=False)
    for length_s in (min(seconds, _CALIBRATION_S), seconds):
        found = generator.run(target, load, requests=_whole_rounds(found.rate * length_s), each=False)
    return found.rate


def closed_loop(
    ours: Contender, theirs: Contender, generator: H2Load, *, rates: tuple[float, float], turns: int, seconds: float
) -> list[Pair]:
    """Both in a closed loop of :data:`CALLERS`.

    Args:
        ours: Warm.
        theirs: Warm.
        generator: Of the load.
        rates: About how many answers a second each gives, by :func:`rate_in`.
        turns: How often each is measured.
        seconds: About how long each time.

    Raises:
        LoadFailed: A request failed, or had an answer of another length.
    """
    requests = dict(zip((ours.name, theirs.name), (_whole_rounds(rate * seconds) for rate in rates), strict=True))

    def one(contender: Contender, _turn: int) -> Point:
        return _point(contender, generator, requests[contender.name])

    return _in_turns(ours, theirs, one, turns)


def at_equal_rates(
    ours: Aimed, theirs: Aimed, load: StoredLoad, *, turns: int, seconds: float, seed: int
) -> list[Pair]:
    """Both in an open loop of the same arrivals, by the project's own generator.

    A rate at which the generator cannot keep its schedule beside one of the servers gives points that are not valid.

    Args:
        ours: Connected.
        theirs: Connected.
        load: With its rate.
        turns: How often each is measured; each turn has arrivals of its own.
        seconds: About how long each time; longer where so few requests would have no p99.
        seed: Of the first turn.
    """
    length_s = _long_enough(load.rate_per_s or 0.0, seconds)
    return _in_turns(ours, theirs, lambda target, turn: measure(target, load, length_s, seed + turn), turns)


def _in_turns(ours: Found, theirs: Found, one: Callable[[Found, int], Point], turns: int) -> list[Pair]:
    pairs = []
    for turn in range(turns):
        order: Sequence[Found] = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        first, second = (replace(one(contender, turn), label=f"turn {turn + 1}") for contender in order)
        pairs.append(Pair(ours=first, theirs=second) if turn % 2 == 0 else Pair(ours=second, theirs=first))
    return pairs


def _point(contender: Contender, generator: H2Load, requests: int) -> Point:
    server = contender.server
    server.forget_peak()
    before = server.figures(contender.model)
    found = generator.run(contender.target, contender.load, requests=requests, each=True)
    grown = server.figures(contender.model).since(before)
    stored = StoredLoad(kind="closed", callers=CALLERS)
    point = Point(load=stored, rate_reached_per_s=found.rate, peak_memory_bytes=server.peak_memory_bytes())
    return with_latencies(point, Latencies.decoded(found.histogram), grown, generator_cpu_s=found.cpu_s)


def _whole_rounds(requests: float) -> int:
    return max(1, round(requests / CALLERS)) * CALLERS


def _long_enough(rate: float, seconds: float) -> float:
    return min(_MAX_SECONDS, max(seconds, _LEAST_REQUESTS / rate)) if rate else seconds
