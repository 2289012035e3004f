"""One load on one server, and the point that is stored of it. Starts no server and judges nothing."""

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

__all__ = ["ATTEMPTS", "GRPC", "Aimed", "Way", "aimed", "loop_of", "measure", "point_of", "with_latencies"]

_WARM_UP_S: Final = 0.5
_WARM_UP_CALLERS: Final = 8
# A run in which the generator fell behind is discarded; a hiccup of the machine must not cost a point, so once more.
ATTEMPTS: Final = 2
# Of the tenth of a second between two bursts: still a burst, though no generator sends all of it at once.
_BURST_SPREAD_S: Final = 0.01
_MS: Final = 1e3
_NS_PER_US: Final = 1e3
_US: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How requests are sent.

    Attributes:
        method: That is called; of HTTP/1.1 the path.
        worker: See :class:`~sardonyx_server.load.worker_pool.WorkerPool`.
        connections: In all.
    """

    method: str = METHOD
    worker: str = GRPC_WORKER
    connections: int = 8


GRPC: Final = Way()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aimed:
    """A server, the model of it that is asked, and connected processes that ask.

    Attributes:
        server: Whose costs are counted.
        model: Whose batches and stages are; "" = none.
        pool: Of the load.
        timeout_s: Deadline of each request.
        gives_way: Whether the server gives way in open loops where the generator cannot have the priority.
    """

    server: Server
    model: str
    pool: WorkerPool
    timeout_s: float
    gives_way: bool = True


@contextmanager
def aimed(
    server: Server,
    messages: Sequence[bytes],
    *,
    model: str = "",
    way: Way = GRPC,
    answer_bytes: int | None = None,
    processes: int | None = None,
    timeout_s: float = 10.0,
    gives_way: bool = True,
) -> Iterator[Aimed]:
    """Connect processes that ask a server, and warm it up.

    Args:
        server: Up.
        messages: Serialised requests, sent in turn.
        model: Whose batches and stages are read; "" = none.
        way: How they are sent.
        answer_bytes: Length of every answer; another one counts as failed. None = any.
        processes: That send; None = half the cores, at least one, at most 4, as ``sardonyx bench`` takes.
        timeout_s: Deadline of each request.
        gives_way: See :class:`Aimed`.

    Raises:
        LoadFailed: No connection.
    """
    target = Target(
        address=server.address,
        method=way.method,
        messages=tuple(messages),
        answer_bytes=answer_bytes,
        timeout_s=timeout_s,
    )
    processes = processes or default_processes()
    with WorkerPool(target, processes=processes, connections=way.connections, worker=way.worker) as pool:
        pool.run(ClosedLoop(concurrency=_WARM_UP_CALLERS), duration_s=_WARM_UP_S)
        yield Aimed(server=server, model=model, pool=pool, timeout_s=timeout_s, gives_way=gives_way)


def measure(target: Aimed, load: Load, seconds: float, seed: int, *, attempts: int = ATTEMPTS) -> Point:
    """Put a load on a server for some time. Blocks.

    In an open loop the generator has a core when it wants one (:func:`bench.placement.punctual`).

    A run in which more than 1 % of requests were sent late is discarded and done once more; where that is late too, its
    point is stored as not valid. Of bursts, all must have been sent within a tenth of the time between two.

    Args:
        target: Connected.
        load: What to ask for.
        seconds: How long.
        seed: Of arrivals.
        attempts: Runs at most, where all of them are late.

    Raises:
        LoadFailed: A sending process ended.
    """
    point = Point(load=load, seed=seed, valid=False)
    for _ in range(attempts):
        target.server.forget_peak()
        before = target.server.figures(target.model)
        servers = target.server.tree() if target.gives_way else []
        with punctual(target.pool.pids, servers) if load.kind == "open" else nullcontext():
            report = target.pool.run(loop_of(load, seed), duration_s=seconds)
        grown = target.server.figures(target.model).since(before)
        point = point_of(report, load, grown, seed=seed, deadline_s=target.timeout_s)
        point = replace(point, peak_memory_bytes=target.server.peak_memory_bytes())
        if point.valid:
            break
    return point


def loop_of(load: Load, seed: int) -> Loop:
    """The generator's load.

    Raises:
        ValueError: An open loop without a rate, or a closed one without callers.
    """
    if load.kind == "closed" and load.callers is not None:
        return ClosedLoop(concurrency=load.callers)
    if load.kind == "open" and load.rate_per_s is not None:
        return OpenLoop(rate=load.rate_per_s, arrivals=Arrivals(load.arrivals or "poisson"), seed=seed)
    raise ValueError(f"expected an open loop with a rate or a closed one with callers, got {load}")


def point_of(report: Report, load: Load, grown: Figures, *, seed: int, deadline_s: float | None = None) -> Point:
    """What is stored of a run.

    Args:
        report: What the generator found.
        load: What was asked for.
        grown: What the server's figures grew by meanwhile.
        seed: Of arrivals.
        deadline_s: An answer later than this after it was due is no good one; None = all are good.
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
    """A point with its percentiles, and with what the server's figures grew by."""
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
