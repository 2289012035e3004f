"""The command ``bench``: load-tests a running server, reports latencies, and checks them against an SLO."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sardonyx_server.cli.exit_codes import CliError, ExitCode
from sardonyx_server.cli.output import print_notice, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from sardonyx_server.cli.bench_render import LiveDisplay
    from sardonyx_server.load.loops import Load, Target
    from sardonyx_server.load.report import Report
    from sardonyx_server.load.slo_search import SearchResult
    from sardonyx_server.load.worker_pool import WorkerPool

__all__ = ["BenchOptions", "run_bench"]

_NO_TLS: Final = "bench does not, so measure one without"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """The arguments of ``bench``. Exactly one of rate, find_max and concurrency is set; ``processes`` 0 = automatic.

    ``metadata`` is sent with each call, to both servers of a comparison.
    """

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
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def run_bench(options: BenchOptions, *, as_json: bool) -> int:
    """Runs the load and prints the result.

    Args:
        options: The arguments.
        as_json: One JSON document instead of text.

    Returns:
        0 if all requests were answered, or the SLO is met if there is one; 5 if some failed and there is no SLO; 6 if
        the SLO is not met or the generator did not keep its schedule.

    Raises:
        CliError: The arguments contradict each other, the server cannot be reached, or it accepts no random data.
    """
    from sardonyx_server.cli import bench_render as render
    from sardonyx_server.load.loops import LoadGeneratorError

    load = _load(options)
    try:
        with ExitStack() as stack:
            first = _target(options)
            live = stack.enter_context(render.LiveDisplay())
            pool = stack.enter_context(_worker_pool(options, first))
            if options.compare is not None:
                second = stack.enter_context(_worker_pool(options, replace(first, address=options.compare)))
                return _compare(options, load, pool, second, live, as_json=as_json)
            if options.find_max:
                return _find(options, pool, live, as_json=as_json)
            return _measure(options, load, pool, live, as_json=as_json)
    except LoadGeneratorError as error:
        raise CliError(ExitCode.REQUEST_FAILED, str(error)) from None


def _measure(options: BenchOptions, load: Load, pool: WorkerPool, live: LiveDisplay, *, as_json: bool) -> int:
    from sardonyx_server.cli import bench_render as render

    _warm_up(options, load, pool, live)
    report = pool.run(load, duration_s=options.duration_s, on_progress=live.on(str(load)))
    live.close()
    if as_json:
        write_json(_head(options) | {"report": report.as_json()})
    else:
        render.print_report(_title(options, str(load)), report, slo_s=options.slo_s)
    return _verdict(options, report)


def _find(options: BenchOptions, pool: WorkerPool, live: LiveDisplay, *, as_json: bool) -> int:
    from sardonyx_server.cli import bench_render as render
    from sardonyx_server.load.arrivals import Arrivals
    from sardonyx_server.load.slo_search import find_max_rate

    slo_s = options.slo_s or 0.0
    result: SearchResult = find_max_rate(
        lambda load, duration_s, name: pool.run(load, duration_s=duration_s, on_progress=live.on(name)),
        slo_s=slo_s,
        duration_s=options.duration_s,
        arrivals=Arrivals(options.arrivals),
        seed=options.seed,
    )
    live.close()
    if as_json:
        write_json(_head(options) | result.as_json())
    else:
        render.print_search_result(_title(options, "highest rate within the SLO"), result, slo_s=slo_s)
    if result.generator_was_late:
        print_notice(
            "the rates above failed because the generator was late, not the server: try more --processes or cores"
        )
    if result.report is None:
        print_notice("no rate was found that meets the SLO")
        return int(ExitCode.TARGET_MISSED)
    return int(ExitCode.OK)


def _compare(
    options: BenchOptions, load: Load, first: WorkerPool, second: WorkerPool, live: LiveDisplay, *, as_json: bool
) -> int:
    from sardonyx_server.cli import bench_render as render
    from sardonyx_server.load.compare import abba

    turn_s = options.duration_s / (2 * options.rounds)

    def runs(pool: WorkerPool, address: str) -> Callable[[int], Report]:
        return lambda number: pool.run(
            _seeded(load, options.seed + number),
            duration_s=turn_s,
            on_progress=live.on(f"{address}, turn {number + 1} of {2 * options.rounds}"),
        )

    other = options.compare or ""
    _warm_up(options, load, first, live)
    _warm_up(options, load, second, live)
    compared = abba(runs(first, options.address), runs(second, other), rounds=options.rounds)
    live.close()
    if as_json:
        write_json(_head(options) | {"compared_with": other} | compared.as_json())
    else:
        render.print_comparison(_title(options, str(load)), compared, names=(options.address, other))
    return max(_verdict(options, compared.first), _verdict(options, compared.second))


def _verdict(options: BenchOptions, report: Report) -> int:
    """The exit code of a run; prints the reason if it is not 0."""
    if not report.is_valid:
        print_notice(
            f"this run is invalid: {report.slip:.1%} of its requests were sent more than 1 ms late, not at most 1 %; "
            "the generator's machine is too busy (use a lower rate, another machine, or more --processes)"
        )
        return int(ExitCode.TARGET_MISSED)
    if options.slo_s is not None:
        if report.meets(options.slo_s):
            return int(ExitCode.OK)
        print_notice(
            f"the SLO is not met: more than 1 % of requests failed or took longer than {options.slo_s * 1e3:g} ms"
        )
        return int(ExitCode.TARGET_MISSED)
    if report.failed or not report.sent:
        print_notice(
            f"{report.failed} of {report.sent} requests failed" if report.sent else "no request was due in time"
        )
        return int(ExitCode.REQUEST_FAILED)
    return int(ExitCode.OK)


def _load(options: BenchOptions) -> Load:
    """The requested load; for a search only a placeholder."""
    from sardonyx_server.load.arrivals import Arrivals
    from sardonyx_server.load.loops import ClosedLoop, OpenLoop

    given = [options.rate is not None, options.find_max, options.concurrency is not None]
    if sum(given) != 1:
        raise CliError(ExitCode.USAGE, "expected one of --rate, --find-max and --concurrency")
    if options.find_max and options.slo_s is None:
        raise CliError(ExitCode.USAGE, "--find-max needs --slo-p99-ms, the limit that the rate must meet")
    if options.find_max and options.compare is not None:
        raise CliError(ExitCode.USAGE, "--compare needs one load for both servers: --rate or --concurrency")
    if options.arrivals not in list(Arrivals):
        raise CliError(ExitCode.USAGE, f"--arrivals: expected one of {', '.join(Arrivals)}, got {options.arrivals!r}")
    if options.concurrency is not None:
        return ClosedLoop(concurrency=options.concurrency)
    return OpenLoop(rate=options.rate or 1.0, arrivals=Arrivals(options.arrivals), seed=options.seed)


def _seeded(load: Load, seed: int) -> Load:
    from sardonyx_server.load.loops import OpenLoop

    return replace(load, seed=seed) if isinstance(load, OpenLoop) else load


def _target(options: BenchOptions) -> Target:
    """The target, with random requests that the server accepts."""
    from sardonyx_client import ClientError
    from sardonyx_server.cli.infer import describe_error, open_client
    from sardonyx_server.load.input_discovery import METHOD, discover_inputs
    from sardonyx_server.load.loops import Target
    from sardonyx_server.load.messages import is_batched, messages

    try:
        with open_client(
            options.address, timeout_s=options.timeout_s, metadata=options.metadata, option="HOST:PORT"
        ) as client:
            inputs = client.metadata(options.model, options.version).inputs
    except ClientError as error:
        raise CliError(ExitCode.REQUEST_FAILED, describe_error(error, options.address, with_tls=_NO_TLS)) from None
    if options.rows > 1 and not is_batched(inputs):
        shapes = ", ".join(f"{spec.name} {spec.describe()}" for spec in inputs)
        raise CliError(
            ExitCode.USAGE,
            f"--rows {options.rows}: model {options.model!r} takes one row, its first axes are fixed: {shapes}",
        )
    recipe = discover_inputs(
        options.address,
        options.model,
        options.version,
        inputs,
        rows=options.rows,
        timeout_s=options.timeout_s,
        metadata=options.metadata,
    )
    return Target(
        address=options.address,
        method=METHOD,
        messages=messages(options.model, options.version, recipe, rows=options.rows, seed=options.seed),
        timeout_s=options.timeout_s,
        metadata=options.metadata,
    )


def _worker_pool(options: BenchOptions, target: Target) -> WorkerPool:
    from sardonyx_server.load.worker_pool import WorkerPool, default_processes

    return WorkerPool(
        target, processes=options.processes or default_processes(options.rate), connections=options.connections
    )


def _warm_up(options: BenchOptions, load: Load, pool: WorkerPool, live: LiveDisplay) -> None:
    if options.warmup_s:
        pool.run(load, duration_s=options.warmup_s, on_progress=live.on("warming up"))


def _title(options: BenchOptions, load: str) -> str:
    plural = "s" if options.connections != 1 else ""
    connections = f"{options.connections} connection{plural}"
    return f"{options.model} on {options.address}: {load}, {options.duration_s:g} s, {connections}"


def _head(options: BenchOptions) -> dict[str, object]:
    return {
        "address": options.address,
        "model": options.model,
        "rows": options.rows,
        "connections": options.connections,
    }
