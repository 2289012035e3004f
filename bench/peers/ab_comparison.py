"""A/B comparison of two running servers under the same loads, interleaved: A B, B A, A B, ... Starts no server.

Each turn gives one figure for each server, and so one ratio; verdict.py evaluates them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from bench.load.http1 import HTTP1_WORKER
from bench.load.result import Generator, Streams
from bench.serving import Server
from bench.store import Load, Point
from bench.suite.closed_loop import closed_loop_point
from bench.suite.measuring import GRPC, LoadTarget, Wire, load_target, measure
from bench.turns import in_turns
from sardonyx_server.load.loops import Target

__all__ = ["CALLERS", "Competitor", "Pair", "at_equal_rates", "closed_loop", "long_enough_s"]

CALLERS: Final = 64
"""Requests in flight in a closed loop: 8 connections x 8 streams over gRPC, 64 connections over HTTP/1.1."""

_GRPC: Final = Streams(connections=8, streams=8)
_HTTP1: Final = Streams(connections=CALLERS, streams=1, http1=True)
# The p99 of 100 requests is nearly their maximum, and not reproducible.
_LEAST_REQUESTS: Final = 300
_MAX_SECONDS: Final = 5.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """A server under comparison, and the request that it is sent.

    Attributes:
        name: Name in a stored run.
        server: A running server.
        target: One request, and the length of its response.
        http1: Whether it speaks HTTP/1.1 instead of gRPC.
        model: Model whose batch and stage statistics are read; "" = it does not speak gRPC.
    """

    name: str
    server: Server
    target: Target
    http1: bool = False
    model: str = ""

    @property
    def streams(self) -> Streams:
        """The closed loop of :data:`CALLERS` in its protocol."""
        return _HTTP1 if self.http1 else _GRPC

    def in_closed_loop(self, generator: Generator, seconds: float) -> Point:
        """Measure it in a closed loop of :data:`CALLERS` callers. Blocks.

        Raises:
            LoadGeneratorError: A request failed, or had an answer of another length.
        """
        return closed_loop_point(generator, self.server, self.target, self.streams, seconds=seconds, model=self.model)

    @contextmanager
    def load_target(self) -> Iterator[LoadTarget]:
        """Connect the senders of open loops, with as many connections.

        Raises:
            LoadGeneratorError: No connection.
        """
        wire = GRPC
        if self.http1:
            wire = Wire(method=self.target.method, worker=HTTP1_WORKER, connections=_HTTP1.connections)
        with load_target(
            self.server,
            self.target.messages,
            model=self.model,
            wire=wire,
            answer_bytes=self.target.answer_bytes,
        ) as target:
            yield target


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The points of one turn.

    Attributes:
        ours: Point of Sardonyx.
        theirs: Point of the peer.
    """

    ours: Point
    theirs: Point


def closed_loop(
    ours: Competitor, theirs: Competitor, generator: Generator, *, turns: int, seconds: float
) -> list[Pair]:
    """Both in a closed loop of :data:`CALLERS`.

    Args:
        ours: Warm.
        theirs: Warm.
        generator: The load generator.
        turns: How often each is measured.
        seconds: About how long each time.

    Raises:
        LoadGeneratorError: A request failed, or had an answer of another length.
    """
    return _in_turns(ours, theirs, lambda competitor, _: competitor.in_closed_loop(generator, seconds), turns)


def at_equal_rates(
    ours: Competitor, theirs: Competitor, load: Load, *, turns: int, seconds: float, seed: int
) -> list[Pair]:
    """Both in an open loop of the same arrivals, by the project's own generator.

    A rate at which the generator cannot keep its schedule beside one of the servers gives points that are not valid.

    Args:
        ours: Warm.
        theirs: Warm.
        load: With its rate.
        turns: How often each is measured; each turn has arrivals of its own.
        seconds: Approximate duration of each measurement; longer if there would be too few requests for a p99.
        seed: Seed of the first turn.

    Raises:
        LoadGeneratorError: No connection.
    """
    length_s = long_enough_s(load, seconds)
    with ExitStack() as stack:
        one, other = (stack.enter_context(who.load_target()) for who in (ours, theirs))
        return _in_turns(one, other, lambda target, turn: measure(target, load, length_s, seed + turn), turns)


def long_enough_s(load: Load, seconds: float) -> float:
    """Duration of an open loop that is long enough for a meaningful p99."""
    rate = load.rate_per_s
    return min(_MAX_SECONDS, max(seconds, _LEAST_REQUESTS / rate)) if rate else seconds


def _in_turns(ours: Found, theirs: Found, one: Callable[[Found, int], Point], turns: int) -> list[Pair]:
    def labelled(which: Found, turn: int) -> Point:
        return replace(one(which, turn), label=f"turn {turn + 1}")

    arms = {"ours": partial(labelled, ours), "theirs": partial(labelled, theirs)}
    return [Pair(**found) for found in in_turns(arms, turns)]
