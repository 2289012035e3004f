"""A deployed model with its references: the server, a bare echo, and the in-process cost of its rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.arms import fetch_answer
from bench.cases import Case, make
from bench.limits.floor import Times, p99_s, sojourns_s, with_transport_s
from bench.limits.greedy_queue import run_greedy_queue
from bench.limits.in_process import Costs, best, costs_of
from bench.limits.reference import ReferenceModel
from bench.serving import Server, bare_echo, serving
from bench.store import Load, Point
from bench.suite.measuring import LoadTarget, load_target, measure
from bench.suite.plan import Plan
from bench.suite.queue_replay import due_s
from sardonyx_server.load.arrivals import Arrivals, arrivals_s
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.runtime.cores import available_cores

__all__ = ["CAPACITY_CALLERS", "Deployment", "Floor", "capacity_per_s", "deploy"]

CAPACITY_CALLERS: Final = 64
# Least share of the cores for the queue; if the echo takes nearly all of them, the floor says nothing about the model.
_LEAST_LEFT: Final = 0.05
# Largest slip of a trial, which is so short that one late request in a hundred must not decide.
_MOST_SLIP: Final = 0.05
_STEP_DOWN: Final = 0.9
_MOST_STEPS: Final = 8
# Most requests in flight on average at the capacity, a quarter of those callers; with more, requests pile up.
_MOST_UNDER_WAY: Final = 16
# By how much the load beside the real queue lasts longer, so that it covers all of the queue's requests.
_AROUND_S: Final = 0.5
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Lower bounds of the p99 at a rate.

    Attributes:
        p99_s: Latency of a bare echo plus the time in a simulated queue on the cores that the echo leaves. None if that
            queue cannot keep up, because the in-process measurement was disturbed; or if the echo itself cannot,
            because it is slower than the server at such rates and so gives no lower bound.
        queue_p99_s: The time in a simulated queue on all cores, without transport; None likewise.
        echo_cpu_s: CPU seconds of one bare echo at that rate, generator included.
    """

    p99_s: float | None
    queue_p99_s: float | None
    echo_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model under measurement.

    Attributes:
        case: The model and its request.
        server: A Sardonyx server of that model only.
        target: The server with connected senders.
        echo: A bare echo that responds with as many bytes.
        echo_target: The echo with connected senders.
        answer_bytes: Length of an answer.
        reference: The model in-process, one thread.
        in_process_costs: Run times in-process on all cores; measured once, with nothing else running.
    """

    case: Case
    server: Server
    target: LoadTarget
    echo: Server
    echo_target: LoadTarget
    answer_bytes: int
    reference: ReferenceModel
    in_process_costs: Sequence[Costs]

    @property
    def best_in_process(self) -> Costs:
        """The in-process configuration with the highest throughput."""
        return best(self.in_process_costs)

    def floor(self, load: Load, seconds: float, seed: int) -> Floor:
        """The floor at the rate and with the arrivals of an open loop. Blocks: measures the echo under the same load.

        Transport and generator take their share of the cores, as in the allowance, and the queue gets the rest. It is
        simulated with each in-process configuration, with the best and the largest batch size; the lowest p99 counts.
        """
        rate = load.rate_per_s or 0.0
        echo = measure(self.echo_target, load, seconds, seed)
        echo_cpu_s = ((echo.cpu_s_per_1000 or 0.0) + (echo.generator_cpu_s_per_1000 or 0.0)) / 1000
        left = max(_LEAST_LEFT, 1 - rate * echo_cpu_s / available_cores())
        arrived_s = due_s(load, seed)
        shared, alone = (
            self._queue_s(arrived_s, share) if self._sustains(rate, share) else None for share in (left, 1.0)
        )
        whole = None
        if shared is not None and echo.answered and _keeps_up(echo, rate):
            whole = with_transport_s(shared, Latencies.decoded(echo.histogram), seed=seed)
        return Floor(
            p99_s=None if whole is None else p99_s(whole),
            queue_p99_s=None if alone is None else p99_s(alone),
            echo_cpu_s=echo_cpu_s,
        )

    def greedy_queue_p99_s(self, load: Load, seconds: float, seed: int) -> float:
        """p99 of a real greedy queue in-process, on the cores that transport and generator leave. Blocks.

        Each in-process configuration runs beside a bare echo under the same load; the lowest p99 counts. The queue
        itself has no transport.
        """
        rate = load.rate_per_s or 0.0
        arrivals = list(arrivals_s(Arrivals(load.arrivals or "poisson"), rate=rate, duration_s=seconds, seed=seed))
        found = []
        for costs in self.in_process_costs:
            beside = threading.Thread(target=measure, args=(self.echo_target, load, seconds + _AROUND_S, seed))
            beside.start()
            times_s = run_greedy_queue(
                self.case.file,
                self.case.row,
                arrivals,
                runners=costs.runners,
                threads=costs.threads,
                max_rows=max(costs.run_s),
            )
            beside.join()
            found.append(p99_s(times_s))
        return min(found)

    def _sustains(self, rate: float, share: float) -> bool:
        return rate < self.best_in_process.rate * share

    def _queue_s(self, arrived_s: Sequence[float], share: float) -> Times:
        """Sojourn times of the best simulated queue on this share of the cores."""
        queues = [
            sojourns_s(arrived_s, partial(_seconds, costs, share), runners=costs.runners, max_rows=most)
            for costs in self.in_process_costs
            for most in {costs.best_rows, max(costs.run_s)}
        ]
        return min(queues, key=p99_s)


def _seconds(costs: Costs, share: float, rows: int) -> float:
    return costs.seconds(rows) / share


@contextmanager
def deploy(name: str, folder: Path, plan: Plan) -> Iterator[Deployment]:
    """Start a server of one case, and compare its output with the model's own.

    Raises:
        CaseMissing: The package that ships the model is not installed.
        WrongAnswer: The server answers something else than the model says.
    """
    case = make(name, folder)
    # Before any server is started. A model that mixes rows is only run with single rows.
    cores = available_cores()
    in_process_costs = costs_of(
        case.file, case.row, cores=cores, sizes=_SIZES if case.batches else (1,), budget_s=plan.limit_s
    )
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository))
        reference = ReferenceModel(case)
        answer = fetch_answer(server.address, case.request)
        reference.check(answer)
        echo = stack.enter_context(bare_echo(len(answer)))
        target, echo_target = (
            stack.enter_context(load_target(one, [case.request], model=model, answer_bytes=len(answer)))
            for one, model in ((server, name), (echo, ""))
        )
        yield Deployment(
            case=case,
            server=server,
            target=target,
            echo=echo,
            echo_target=echo_target,
            answer_bytes=len(answer),
            reference=reference,
            in_process_costs=in_process_costs,
        )


def capacity_per_s(target: LoadTarget, plan: Plan) -> float:
    """Capacity search: the highest rate of an open loop that the server sustains, in steps of a tenth.

    Starts at the rate of a closed loop of many callers, which always has full batches and so is higher, and steps down.
    """
    rate = measure(target, Load(kind="closed", callers=CAPACITY_CALLERS), plan.rate_s, plan.seed).rate_reached_per_s
    for _ in range(_MOST_STEPS):
        found = measure(target, Load(arrivals="poisson", rate_per_s=rate), plan.rate_s, plan.seed, attempts=1)
        if found.slip_share <= _MOST_SLIP and _keeps_up(found, rate):
            break
        rate *= _STEP_DOWN
    return rate


def _keeps_up(found: Point, rate: float) -> bool:
    """Whether the server sustains a rate. By Little's law, the mean latency gives the requests in flight."""
    return rate * found.mean_ms / 1e3 <= _MOST_UNDER_WAY
