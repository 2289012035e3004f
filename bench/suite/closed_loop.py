"""A closed loop on one server, sent by h2load if it is installed. Judges nothing.

The generator of the open loops would do, but h2load takes a quarter of its CPU, and on shared cores what the generator
takes is missing from the rate. h2load knows neither deadlines nor schedules.
"""

from __future__ import annotations

from typing import Final

from bench.cases import METHOD
from bench.load.builtin import BuiltinGenerator
from bench.load.h2load import H2Load
from bench.load.result import Generator, Streams, requests_for
from bench.serving import Server, grown
from bench.store import Load, Point
from bench.suite.measuring import with_latencies
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import Target
from sardonyx_server.runtime.cores import available_cores

__all__ = ["closed", "closed_loop_point", "cpu_s_of", "generator"]

_MAX_CONNECTIONS: Final = 8


def generator() -> Generator:
    """h2load as installed, or else our own."""
    return H2Load.installed() or BuiltinGenerator(available_cores())


def closed(
    generator: Generator,
    server: Server,
    request: bytes,
    answer_bytes: int,
    *,
    callers: int,
    seconds: float,
    model: str = "",
) -> Point:
    """A closed loop over gRPC for about ``seconds``. Blocks.

    Args:
        generator: The load generator.
        server: A running server.
        request: The message.
        answer_bytes: Length of every answer.
        callers: Number of callers, on up to 8 connections.
        seconds: About how long.
        model: Whose batches and stages are read; "" = none.

    Raises:
        LoadGeneratorError: A request failed or had another answer.
    """
    connections = min(callers, _MAX_CONNECTIONS)
    streams = Streams(connections=connections, streams=callers // connections)
    target = Target(address=server.address, method=METHOD, messages=(request,), answer_bytes=answer_bytes)
    return closed_loop_point(generator, server, target, streams, seconds=seconds, model=model)


def closed_loop_point(
    generator: Generator, server: Server, target: Target, streams: Streams, *, seconds: float, model: str = ""
) -> Point:
    """The same in any protocol that the generator knows. See :func:`closed`."""
    requests = requests_for(
        lambda few: generator.run(target, streams, requests=few, record_each=False), streams.concurrency, seconds
    )
    server.forget_peak()
    before = server.figures(model)
    found = generator.run(target, streams, requests=requests, record_each=True)
    meanwhile = grown(server, model, before, rows=requests)
    point = Point(
        load=Load(kind="closed", callers=streams.concurrency),
        rate_reached_per_s=found.rate,
        peak_memory_bytes=server.peak_memory_bytes(),
    )
    return with_latencies(point, Latencies.decoded(found.histogram), meanwhile, generator_cpu_s=found.cpu_s)


def cpu_s_of(point: Point) -> float:
    """CPU seconds of one request: server and generator."""
    return ((point.cpu_s_per_1000 or 0.0) + (point.generator_cpu_s_per_1000 or 0.0)) / 1000
