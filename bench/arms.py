"""Arms of an A/B comparison: servers under a load, measured in interleaved turns. Judges nothing."""

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

__all__ = ["Arm", "Measurable", "Sample", "fetch_answer", "measure_in_turns"]

_ANSWER_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One arm in one turn.

    Attributes:
        load: What the load generator measured.
        server: By how much the server's own figures grew.
    """

    load: LoadResult
    server: Figures

    @property
    def cpu_s(self) -> float:
        """CPU seconds of one request, server and load generator together."""
        return (self.server.cpu_s + self.load.cpu_s) / self.load.requests

    @property
    def batch_rows(self) -> float:
        """Mean batch size. Requires: the server runs models."""
        return self.server.rows / sum(self.server.runs.values())


class Measurable(Protocol):
    """Anything that can be an arm.

    Attributes:
        name: Name in the report.
    """

    name: str

    def calibrate(self, seconds: float) -> None:
        """Warm up, and determine how many requests take about ``seconds``."""

    def measure(self, *, record_each: bool) -> Sample:
        """Measure one turn. ``record_each``: record each latency."""


class Arm:
    """A server under a load.

    Args:
        name: Name in the report.
        server: A running server.
        model: Model whose batch statistics are read; "" = none.
        request: Request message.
        answer_bytes: Length of each response message.
        streams: Shape of the closed loop.
        generator: The load generator.
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
        """Warm up, and determine how many requests take about ``seconds``."""
        self._requests = requests_for(lambda few: self._run(few, record_each=False), self._streams.concurrency, seconds)

    def measure(self, *, record_each: bool) -> Sample:
        """Measure one turn. ``record_each``: record each latency.

        Raises:
            LoadGeneratorError: A request failed, or the model ran another number of rows than were sent.
        """
        before = self.server.figures(self.model)
        load = self._run(self._requests, record_each=record_each)
        return Sample(load=load, server=grown(self.server, self.model, before, rows=load.requests))

    def _run(self, requests: int, *, record_each: bool) -> LoadResult:
        return self._generator.run(self._target, self._streams, requests=requests, record_each=record_each)


def fetch_answer(address: str, request: bytes) -> bytes:
    """The server's response to one message.

    Raises:
        grpc.RpcError: An error status.
    """
    with grpc.insecure_channel(address, options=(("grpc.max_send_message_length", -1),)) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        return call(request, timeout=_ANSWER_TIMEOUT_S, wait_for_ready=True)


def measure_in_turns(
    arms: Sequence[Measurable], *, turns: int, seconds: float, record_each: bool = False
) -> Iterator[dict[str, Sample]]:
    """Calibrate arms, and measure them in interleaved turns; see :func:`bench.turns.in_turns`.

    Args:
        arms: Arms with different names.
        turns: How often each is measured.
        seconds: Approximate duration of each measurement.
        record_each: Record each latency.

    Yields:
        For each turn: arm name -> sample.
    """
    for arm in arms:
        arm.calibrate(seconds)
    yield from in_turns({arm.name: partial(_sample, arm, record_each) for arm in arms}, turns)


def _sample(arm: Measurable, record_each: bool, _turn: int) -> Sample:  # noqa: FBT001  # bound by partial
    return arm.measure(record_each=record_each)
