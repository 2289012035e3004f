"""Two servers that are up at the same time, under the same loads in turns: A B, B A, A B, ... Starts no server.

A turn gives one figure of each, and so one ratio; see verdict.py for what is made of them.
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
from bench.suite.closed import closed_by
from bench.suite.measuring import GRPC, Aimed, Way, aimed, measure
from bench.turns import in_turns
from sardonyx_server.load.loops import Target

__all__ = ["CALLERS", "Contender", "Pair", "at_equal_rates", "closed_loop", "long_enough_s"]

CALLERS: Final = 64
"""Requests under way in a closed loop: 8 connections x 8 streams over gRPC, 64 connections over HTTP/1.1."""

_GRPC: Final = Streams(connections=8, streams=8)
_HTTP1: Final = Streams(connections=CALLERS, streams=1, http1=True)
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
        target: One request, and the length of its answer.
        http1: Whether it speaks HTTP/1.1 and no gRPC.
        model: Whose batches and stages are read, where it tells of them; "" = it speaks no gRPC.
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
        """Under :data:`CALLERS` callers for about so long. Blocks.

        Raises:
            LoadFailed: A request failed, or had an answer of another length.
        """
        return closed_by(generator, self.server, self.target, self.streams, seconds=seconds, model=self.model)

    @contextmanager
    def aimed(self) -> Iterator[Aimed]:
        """Processes that ask it in open loops, over as many connections.

        Raises:
            LoadFailed: No connection.
        """
        way = GRPC
        if self.http1:
            way = Way(method=self.target.method, worker=HTTP1_WORKER, connections=_HTTP1.connections)
        with aimed(
            self.server,
            self.target.messages,
            model=self.model,
            way=way,
            answer_bytes=self.target.answer_bytes,
        ) as target:
            yield target


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What one turn found.

    Attributes:
        ours: Of Sardonyx.
        theirs: Of the peer.
    """

    ours: Point
    theirs: Point


def closed_loop(ours: Contender, theirs: Contender, generator: Generator, *, turns: int, seconds: float) -> list[Pair]:
    """Both in a closed loop of :data:`CALLERS`.

    Args:
        ours: Warm.
        theirs: Warm.
        generator: Of the load.
        turns: How often each is measured.
        seconds: About how long each time.

    Raises:
        LoadFailed: A request failed, or had an answer of another length.
    """
    return _in_turns(ours, theirs, lambda contender, _: contender.in_closed_loop(generator, seconds), turns)


def at_equal_rates(
    ours: Contender, theirs: Contender, load: Load, *, turns: int, seconds: float, seed: int
) -> list[Pair]:
    """Both in an open loop of the same arrivals, by the project's own generator.

    A rate at which the generator cannot keep its schedule beside one of the servers gives points that are not valid.

    Args:
        ours: Warm.
        theirs: Warm.
        load: With its rate.
        turns: How often each is measured; each turn has arrivals of its own.
        seconds: About how long each time; longer where so few requests would have no p99.
        seed: Of the first turn.

    Raises:
        LoadFailed: No connection.
    """
    length_s = long_enough_s(load, seconds)
    with ExitStack() as stack:
        one, other = (stack.enter_context(who.aimed()) for who in (ours, theirs))
        return _in_turns(one, other, lambda target, turn: measure(target, load, length_s, seed + turn), turns)


def long_enough_s(load: Load, seconds: float) -> float:
    """How long an open loop is to last for a p99 that is more than its slowest request."""
    rate = load.rate_per_s
    return min(_MAX_SECONDS, max(seconds, _LEAST_REQUESTS / rate)) if rate else seconds


def _in_turns(ours: Found, theirs: Found, one: Callable[[Found, int], Point], turns: int) -> list[Pair]:
    def labelled(which: Found, turn: int) -> Point:
        return replace(one(which, turn), label=f"turn {turn + 1}")

    arms = {"ours": partial(labelled, ours), "theirs": partial(labelled, theirs)}
    return [Pair(**found) for found in in_turns(arms, turns)]
