"""The verb ``bench``: load on a running server, how long its callers would wait, and whether that is good enough."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sardonyx_server.cli.exits import Exit, ExitWith
from sardonyx_server.cli.output import remark, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.cli.bench_views import LiveLoad
    from sardonyx_server.load.loops import Load, Target
    from sardonyx_server.load.report import Report
    from sardonyx_server.load.slo_search import SearchResult
    from sardonyx_server.load.worker_pool import WorkerPool

__all__ = ["Wish", "run_bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed. Exactly one of rate, find_max and concurrency must be given; ``processes`` 0 = choose."""

    address: str
    model: str
    version: str
    rate: float | None
    find_max: bool
    concurrency: int | None
    slo_s: float | None
    arrivals: str
    duration_s: float
    warmup_s: float
    connections: int
    processes: int
    rows: int
    seed: int
    timeout_s: float
    compare: str | None
    rounds: int


def run_bench(wish: Wish, *, as_json: bool) -> int:
    """Measures and prints.

    Args:
        wish: What was typed.
        as_json: One JSON document instead of lines.

    Returns:
        0 where all requests were answered, and within the SLO if there is one; 5 where some failed and no SLO says how
        many may; 6 where the SLO is not met or the generator did not keep its schedule.

    Raises:
        ExitWith: What was typed contradicts itself, the server cannot be reached, or it takes no data we can make.
    """
    from sardonyx_server.cli import bench_views as views
    from sardonyx_server.load.loops import LoadGeneratorError

    load = _load(wish)
    try:
        with ExitStack() as stack:
            first = _target(wish)
            live = stack.enter_context(views.LiveLoad())
            pool = stack.enter_context(_worker_pool(wish, first))
            if wish.compare is not None:
                second = stack.enter_context(_worker_pool(wish, replace(first, address=wish.compare)))
                return _compare(wish, load, pool, second, live, as_json=as_json)
            if wish.find_max:
                return _find(wish, pool, live, as_json=as_json)
            return _measure(wish, load, pool, live, as_json=as_json)
    except LoadGeneratorError as error:
        raise ExitWith(Exit.REQUEST_FAILED, str(error)) from None


def _measure(wish: Wish, load: Load, pool: WorkerPool, live: LiveLoad, *, as_json: bool) -> int:
    from sardonyx_server.cli import bench_views as views

    _warm_up(wish, load, pool, live)
    report = pool.run(load, duration_s=wish.duration_s, on_progress=live.on(str(load)))
    live.close()
    if as_json:
        write_json(_head(wish) | {"report": report.as_json()})
    else:
        views.print_report(_title(wish, str(load)), report, slo_s=wish.slo_s)
    return _verdict(wish, report)


def _find(wish: Wish, pool: WorkerPool, live: LiveLoad, *, as_json: bool) -> int:
    from sardonyx_server.cli import bench_views as views
    from sardonyx_server.load.arrivals import Arrivals
    from sardonyx_server.load.slo_search import find_max_rate

    slo_s = wish.slo_s or 0.0
    result: SearchResult = find_max_rate(
        lambda load, duration_s, name: pool.run(load, duration_s=duration_s, on_progress=live.on(name)),
        slo_s=slo_s,
        duration_s=wish.duration_s,
        arrivals=Arrivals(wish.arrivals),
        seed=wish.seed,
    )
    live.close()
    if as_json:
        write_json(_head(wish) | result.as_json())
    else:
        views.print_found(_title(wish, "highest rate within the SLO"), result, slo_s=slo_s)
    if result.generator_was_late:
        remark("the rates above failed because the generator was late, not the server: try more --processes or cores")
    if result.report is None:
        remark("no rate was found that meets the SLO")
        return int(Exit.TARGET_MISSED)
    return int(Exit.OK)


def _compare(wish: Wish, load: Load, first: WorkerPool, second: WorkerPool, live: LiveLoad, *, as_json: bool) -> int:
    from sardonyx_server.cli import bench_views as views
    from sardonyx_server.load.compare import abba

    turn_s = wish.duration_s / (2 * wish.rounds)

    def runs(pool: WorkerPool, address: str) -> Callable[[int], Report]:
        return lambda number: pool.run(
            _seeded(load, wish.seed + number),
            duration_s=turn_s,
            on_progress=live.on(f"{address}, turn {number + 1} of {2 * wish.rounds}"),
        )

    other = wish.compare or ""
    _warm_up(wish, load, first, live)
    _warm_up(wish, load, second, live)
    compared = abba(runs(first, wish.address), runs(second, other), rounds=wish.rounds)
    live.close()
    if as_json:
        write_json(_head(wish) | {"compared_with": other} | compared.as_json())
    else:
        views.print_comparison(_title(wish, str(load)), compared, names=(wish.address, other))
    return max(_verdict(wish, compared.first), _verdict(wish, compared.second))


def _verdict(wish: Wish, report: Report) -> int:
    """The exit code of a run, with a remark where it is not 0."""
    if not report.is_valid:
        remark(
            f"this run does not count: {report.slip:.1%} of its requests were sent more than 1 ms late, more than 1 %; "
            "the machine of the generator is too busy (a lower rate, another machine, or more --processes)"
        )
        return int(Exit.TARGET_MISSED)
    if wish.slo_s is not None:
        if report.meets(wish.slo_s):
            return int(Exit.OK)
        remark(f"the SLO is not met: more than 1 % of requests failed or took longer than {wish.slo_s * 1e3:g} ms")
        return int(Exit.TARGET_MISSED)
    if report.failed or not report.sent:
        remark(f"{report.failed} of {report.sent} requests failed" if report.sent else "no request was due in the time")
        return int(Exit.REQUEST_FAILED)
    return int(Exit.OK)


def _load(wish: Wish) -> Load:
    """The load that was asked for; for a search only a stand-in."""
    from sardonyx_server.load.arrivals import Arrivals
    from sardonyx_server.load.loops import ClosedLoop, OpenLoop

    given = [wish.rate is not None, wish.find_max, wish.concurrency is not None]
    if sum(given) != 1:
        raise ExitWith(Exit.USAGE, "expected one of --rate, --find-max and --concurrency")
    if wish.find_max and wish.slo_s is None:
        raise ExitWith(Exit.USAGE, "--find-max needs --slo-p99-ms: the highest rate of what?")
    if wish.find_max and wish.compare is not None:
        raise ExitWith(Exit.USAGE, "--compare needs one load for both servers: --rate or --concurrency")
    if wish.arrivals not in list(Arrivals):
        raise ExitWith(Exit.USAGE, f"--arrivals: expected one of {', '.join(Arrivals)}, got {wish.arrivals!r}")
    if wish.concurrency is not None:
        return ClosedLoop(concurrency=wish.concurrency)
    return OpenLoop(rate=wish.rate or 1.0, arrivals=Arrivals(wish.arrivals), seed=wish.seed)


def _seeded(load: Load, seed: int) -> Load:
    from sardonyx_server.load.loops import OpenLoop

    return replace(load, seed=seed) if isinstance(load, OpenLoop) else load


def _target(wish: Wish) -> Target:
    """What to send: random data that both servers take."""
    from sardonyx_client import ClientError
    from sardonyx_server.cli.infer import client_of, described
    from sardonyx_server.load.input_discovery import METHOD, discover_inputs
    from sardonyx_server.load.loops import Target
    from sardonyx_server.load.messages import is_batched, messages

    try:
        with client_of(wish.address, timeout_s=wish.timeout_s, option="HOST:PORT") as client:
            inputs = client.metadata(wish.model, wish.version).inputs
    except ClientError as error:
        raise ExitWith(Exit.REQUEST_FAILED, described(error, wish.address)) from None
    if wish.rows > 1 and not is_batched(inputs):
        shapes = ", ".join(f"{spec.name} {spec.describe()}" for spec in inputs)
        raise ExitWith(
            Exit.USAGE,
            f"--rows {wish.rows}: model {wish.model!r} takes one row, its inputs have no open axis: {shapes}",
        )
    recipe = discover_inputs(wish.address, wish.model, wish.version, inputs, rows=wish.rows, timeout_s=wish.timeout_s)
    return Target(
        address=wish.address,
        method=METHOD,
        messages=messages(wish.model, wish.version, recipe, rows=wish.rows, seed=wish.seed),
        timeout_s=wish.timeout_s,
    )


def _worker_pool(wish: Wish, target: Target) -> WorkerPool:
    from sardonyx_server.load.worker_pool import WorkerPool, default_processes

    return WorkerPool(target, processes=wish.processes or default_processes(wish.rate), connections=wish.connections)


def _warm_up(wish: Wish, load: Load, pool: WorkerPool, live: LiveLoad) -> None:
    if wish.warmup_s:
        pool.run(load, duration_s=wish.warmup_s, on_progress=live.on("warming up"))


def _title(wish: Wish, load: str) -> str:
    plural = "s" if wish.connections != 1 else ""
    return f"{wish.model} on {wish.address}: {load}, {wish.duration_s:g} s, {wish.connections} connection{plural}"


def _head(wish: Wish) -> dict[str, object]:
    return {"address": wish.address, "model": wish.model, "rows": wish.rows, "connections": wish.connections}
