"""Puts one load on one server, and returns the point to store. Starts no server, and judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from bench.cases import METHOD
from bench.placement import punctual
from bench.serving import Figures, Server
from bench.store import Load, Point
from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import ClosedLoop, OpenLoop, Target
from sardonyx_server.load.loops import Load as Loop
from sardonyx_server.load.report import Report
from sardonyx_server.load.worker_pool import GRPC_WORKER, WorkerPool, default_processes

__all__ = [
    "ATTEMPTS",
    "GRPC",
    "LoadTarget",
    "Wire",
    "load_target",
    "make_loop",
    "make_point",
    "measure",
    "with_latencies",
]

_WARM_UP_S: Final = 0.5
_WARM_UP_CALLERS: Final = 8
# A measurement in which the generator fell behind is discarded and repeated once, because the machine may have been
# disturbed.
ATTEMPTS: Final = 2
# A burst must be sent within this time, a tenth of the time between two bursts.
_BURST_SPREAD_S: Final = 0.01
_MS: Final = 1e3
_NS_PER_US: Final = 1e3
_US: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The protocol and connections of a load.

    Attributes:
        method: Method to call; the path for HTTP/1.1.
        worker: See :class:`~sardonyx_server.load.worker_pool.WorkerPool`.
        connections: Total number of connections.
    """

    method: str = METHOD
    worker: str = GRPC_WORKER
    connections: int = 8


GRPC: Final = Wire()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """A server under load, with connected processes that send the load.

    Attributes:
        server: The server, whose costs are measured.
        model: Model whose batch and stage statistics are read; "" = none.
        pool: The sending processes.
        timeout_s: Deadline of each request.
        server_yields: Whether to lower the server's priority in open loops if the generator's cannot be raised.
    """

    server: Server
    model: str
    pool: WorkerPool
    timeout_s: float
    server_yields: bool = True


@contextmanager
def load_target(
    server: Server,
    messages: Sequence[bytes],
    *,
    model: str = "",
    wire: Wire = GRPC,
    answer_bytes: int | None = None,
    processes: int | None = None,
    timeout_s: float = 10.0,
    server_yields: bool = True,
) -> Iterator[LoadTarget]:
    """Connect the sending processes to a server, and warm it up.

    Args:
        server: A running server.
        messages: Serialised requests, sent in rotation.
        model: Model whose batch and stage statistics are read; "" = none.
        wire: Protocol and connections.
        answer_bytes: Length of every response message; another length counts as failed. None = any.
        processes: Number of sending processes; None = half the cores, at least 1, at most 4, as in ``sardonyx bench``.
        timeout_s: Deadline of each request.
        server_yields: See :class:`LoadTarget`.

    Raises:
        LoadGeneratorError: No connection.
    """
    target = Target(
        address=server.address,
        method=wire.method,
        messages=tuple(messages),
        answer_bytes=answer_bytes,
        timeout_s=timeout_s,
    )
    processes = processes or default_processes()
    with WorkerPool(target, processes=processes, connections=wire.connections, worker=wire.worker) as pool:
        pool.run(ClosedLoop(concurrency=_WARM_UP_CALLERS), duration_s=_WARM_UP_S)
        yield LoadTarget(server=server, model=model, pool=pool, timeout_s=timeout_s, server_yields=server_yields)


def measure(target: LoadTarget, load: Load, seconds: float, seed: int, *, attempts: int = ATTEMPTS) -> Point:
    """Put a load on a server for some time. Blocks.

    In an open loop the generator gets a core when it needs one (:func:`bench.placement.punctual`).

    A measurement in which more than 1 % of the requests were sent late is discarded and repeated once; if that is late
    too, the point is marked invalid. Bursts must be sent within a tenth of the time between two.

    Args:
        target: Server and connected senders.
        load: The load.
        seconds: Duration.
        seed: Seed of arrivals.
        attempts: Most measurements if all of them are late.

    Raises:
        LoadGeneratorError: A sending process ended.
    """
    point = Point(load=load, seed=seed, valid=False)
    for _ in range(attempts):
        target.server.forget_peak()
        before = target.server.figures(target.model)
        servers = target.server.tree() if target.server_yields else []
        with punctual(target.pool.pids, servers) if load.kind == "open" else nullcontext():
            report = target.pool.run(make_loop(load, seed), duration_s=seconds)
        grown = target.server.figures(target.model).since(before)
        point = make_point(report, load, grown, seed=seed, deadline_s=target.timeout_s)
        point = replace(point, peak_memory_bytes=target.server.peak_memory_bytes())
        if point.valid:
            break
    return point


def make_loop(load: Load, seed: int) -> Loop:
    """The generator's load.

    Raises:
        ValueError: An open loop without a rate, or a closed one without callers.
    """
    if load.kind == "closed" and load.callers is not None:
        return ClosedLoop(concurrency=load.callers)
    if load.kind == "open" and load.rate_per_s is not None:
        return OpenLoop(rate=load.rate_per_s, arrivals=Arrivals(load.arrivals or "poisson"), seed=seed)
    raise ValueError(f"expected an open loop with a rate or a closed one with callers, got {load}")


def make_point(report: Report, load: Load, grown: Figures, *, seed: int, deadline_s: float | None = None) -> Point:
    """The point to store of a measurement.

    Args:
        report: The generator's report.
        load: The load.
        grown: By how much the server's figures grew meanwhile.
        seed: Seed of arrivals.
        deadline_s: A response later than this after it was due does not count as goodput; None = all count.
    """
    late = 0 if deadline_s is None else report.latencies.count_above(deadline_s)
    good = max(0, min(report.in_time, report.answered - late))
    point = Point(
        load=load,
        rate_reached_per_s=report.rate,
        failed=dict(report.statuses),
        slip_share=report.slip,
        valid=report.is_valid or (load.arrivals == Arrivals.BURST and report.max_late_s <= _BURST_SPREAD_S),
        goodput_per_s=good / report.window_s if report.window_s else 0.0,
        seed=seed,
    )
    return with_latencies(point, report.latencies, grown, generator_cpu_s=report.cpu_s)


def with_latencies(point: Point, latencies: Latencies, grown: Figures, *, generator_cpu_s: float) -> Point:
    """Add the percentiles and the growth of the server's figures to a point."""
    found = latencies.quantiles_s()
    stages_us = {name: ns / max(1, grown.requests) / _NS_PER_US for name, ns in grown.stages_ns.items()}
    if stages_us:
        stages_us["transport"] = max(0.0, latencies.mean_s * _US - sum(stages_us.values()))
    answered = latencies.count
    return replace(
        point,
        answered=answered,
        p50_ms=found["p50"] * _MS,
        p90_ms=found["p90"] * _MS,
        p99_ms=found["p99"] * _MS,
        p99_9_ms=found["p99.9"] * _MS,
        max_ms=latencies.max_s * _MS,
        mean_ms=latencies.mean_s * _MS,
        histogram=latencies.encode(),
        batch_rows_mean=grown.mean_rows,
        batch_sizes={str(rows): runs for rows, runs in sorted(grown.runs.items())} or None,
        batch_run_us={str(rows): ns / grown.runs[rows] / _NS_PER_US for rows, ns in sorted(grown.run_ns.items())}
        or None,
        cpu_s_per_1000=grown.cpu_s * 1000 / answered if answered else None,
        generator_cpu_s_per_1000=generator_cpu_s * 1000 / answered if answered else None,
        stages_us=stages_us or None,
    )
