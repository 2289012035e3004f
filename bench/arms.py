"""Arms of a comparison: a server under a load, measured in turns with the others. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import grpc

from bench.cases import METHOD
from bench.load.result import Generator, LoadResult, Streams, requests_for
from bench.serving import Figures, Server, grown
from bench.turns import in_turns
from sardonyx_server.load.loops import Target

__all__ = ["Arm", "Measured", "Sample", "answer_for", "measured"]

_ANSWER_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One arm in one turn.

    Attributes:
        load: What the generator found.
        server: What the server's own figures grew by.
    """

    load: LoadResult
    server: Figures

    @property
    def cpu_s(self) -> float:
        """CPU seconds of one request: server and generator."""
        return (self.server.cpu_s + self.load.cpu_s) / self.load.requests

    @property
    def batch_rows(self) -> float:
        """Mean rows of a run of the model. Requires: the server runs models."""
        return self.server.rows / sum(self.server.runs.values())


class Measured(Protocol):
    """Whatever can be measured in turns.

    Attributes:
        name: For the report.
    """

    name: str

    def calibrate(self, seconds: float) -> None:
        """Warm up, and find how many requests take about so many seconds."""

    def measure(self, *, each: bool) -> Sample:
        """One turn. ``each``: record each latency."""


class Arm:
    """A server under a load.

    Args:
        name: For the report.
        server: Up.
        model: Whose batches are read; "" = none.
        request: The message that is sent.
        answer_bytes: Length of its answers.
        streams: How requests are sent.
        generator: By what.
    """

    def __init__(
        self,
        name: str,
        server: Server,
        *,
        model: str,
        request: bytes,
        answer_bytes: int,
        streams: Streams,
        generator: Generator,
    ) -> None:
        self.name = name
        self.server = server
        self.model = model
        self._streams = streams
        self._generator = generator
        self._target = Target(address=server.address, method=METHOD, messages=(request,), answer_bytes=answer_bytes)
        self._requests = streams.concurrency

    def calibrate(self, seconds: float) -> None:
        """Warm up, and find how many requests take about so many seconds."""
        self._requests = requests_for(lambda few: self._run(few, each=False), self._streams.concurrency, seconds)

    def measure(self, *, each: bool) -> Sample:
        """One turn. ``each``: record each latency.

        Raises:
            LoadFailed: A request failed, or a model's rows are not the rows that were sent.
        """
        before = self.server.figures(self.model)
        load = self._run(self._requests, each=each)
        return Sample(load=load, server=grown(self.server, self.model, before, rows=load.requests))

    def _run(self, requests: int, *, each: bool) -> LoadResult:
        return self._generator.run(self._target, self._streams, requests=requests, each=each)


def answer_for(address: str, request: bytes) -> bytes:
    """What a server answers to a message.

    Raises:
        grpc.RpcError: An error status.
    """
    with grpc.insecure_channel(address, options=(("grpc.max_send_message_length", -1),)) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        return call(request, timeout=_ANSWER_TIMEOUT_S, wait_for_ready=True)


def measured(
    arms: Sequence[Measured], *, turns: int, seconds: float, each: bool = False
) -> Iterator[dict[str, Sample]]:
    """Calibrate arms, and measure them in turns; see :func:`bench.turns.in_turns`.

    Args:
        arms: Names differ.
        turns: How often each is measured.
        seconds: About how long each time.
        each: Record each latency.

    Yields:
        For each turn: arm name -> sample.
    """
    for arm in arms:
        arm.calibrate(seconds)
    yield from in_turns({arm.name: partial(_sample, arm, each) for arm in arms}, turns)


def _sample(arm: Measured, each: bool, _turn: int) -> Sample:  # noqa: FBT001  # bound by partial
    return arm.measure(each=each)
