"""One model, served: the server, the bare echo beside it, and what its rows cost in-process. Puts no load on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.arms import answer_for
from bench.cases import Case, make
from bench.limits.floor import Times, p99_s, sojourns_s, with_transport_s
from bench.limits.in_process import Costs, best, costs_of
from bench.limits.rehearsal import rehearse
from bench.limits.rows import Rows
from bench.serving import Server, bare_echo, serving
from bench.store import Load, Point
from bench.suite.measuring import Aimed, aimed, measure
from bench.suite.own_runs import due_s
from bench.suite.plan import Plan
from sardonyx_server.load.arrivals import Arrivals, arrivals_s
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.runtime.cores import available_cores

__all__ = ["CAPACITY_CALLERS", "Floor", "Served", "capacity_per_s", "served"]

CAPACITY_CALLERS: Final = 64
# Where the echo alone takes the cores, the floor is no longer one of the model.
_LEAST_LEFT: Final = 0.05
# Of a trial, which is short: one request late of a hundred must not decide.
_MOST_SLIP: Final = 0.05
_STEP_DOWN: Final = 0.9
_MOST_STEPS: Final = 8
# A quarter of those callers: with more under way on average, requests pile up.
_MOST_UNDER_WAY: Final = 16
# By how much a load beside a rehearsal is longer: it is there from the first request to the last.
_AROUND_S: Final = 0.5
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What no server of this model can go below at a rate.

    Attributes:
        p99_s: A bare echo's latency, and the time in a simulated queue that has the cores the echo leaves. None where
            such a queue could not keep up, since what was measured in-process was disturbed; or the echo itself could
            not, being slower than the server at such rates: that would be no floor.
        queue_p99_s: The time in a simulated queue that has all cores, without any transport; None likewise.
        echo_cpu_s: CPU seconds of one bare echo at that rate, generator included.
    """

    p99_s: float | None
    queue_p99_s: float | None
    echo_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model under measurement.

    Attributes:
        case: The model and its request.
        server: A Sardonyx that serves it alone.
        target: That server, connected.
        echo: A bare echo that answers with as many bytes.
        echo_target: That echo, connected.
        answer_bytes: Length of an answer.
        rows: What rows cost in-process, one thread.
        ways: What runs cost in-process, on all cores; measured once, nothing else running.
    """

    case: Case
    server: Server
    target: Aimed
    echo: Server
    echo_target: Aimed
    answer_bytes: int
    rows: Rows
    ways: Sequence[Costs]

    @property
    def in_process(self) -> Costs:
        """The best way of onnxruntime."""
        return best(self.ways)

    def floor(self, load: Load, seconds: float, seed: int) -> Floor:
        """At the rate and with the arrivals of an open loop. Blocks: the echo is measured under the same load.

        Transport and generator take their part of the cores, as in the allowance, and the queue has what they leave. It
        is tried with each way in-process, and holds runs to the best size and to the largest; the lowest p99 counts.
        """
        rate = load.rate_per_s or 0.0
        echo = measure(self.echo_target, load, seconds, seed)
        echo_cpu_s = ((echo.cpu_s_per_1000 or 0.0) + (echo.generator_cpu_s_per_1000 or 0.0)) / 1000
        left = max(_LEAST_LEFT, 1 - rate * echo_cpu_s / available_cores())
        arrived_s = due_s(load, seed)
        shared, alone = (self._queue_s(arrived_s, share) if self._bears(rate, share) else None for share in (left, 1.0))
        whole = None
        if shared is not None and echo.answered and _keeps_up(echo, rate):
            whole = with_transport_s(shared, Latencies.decoded(echo.histogram), seed=seed)
        return Floor(
            p99_s=None if whole is None else p99_s(whole),
            queue_p99_s=None if alone is None else p99_s(alone),
            echo_cpu_s=echo_cpu_s,
        )

    def rehearsed_p99_s(self, load: Load, seconds: float, seed: int) -> float:
        """What a greedy queue in-process comes to on these cores while transport and generator take theirs. Blocks.

        Each way is tried beside a bare echo under the same load; the lower p99 counts. It has no transport of its own.
        """
        rate = load.rate_per_s or 0.0
        arrivals = list(arrivals_s(Arrivals(load.arrivals or "poisson"), rate=rate, duration_s=seconds, seed=seed))
        found = []
        for way in self.ways:
            beside = threading.Thread(target=measure, args=(self.echo_target, load, seconds + _AROUND_S, seed))
            beside.start()
            times_s = rehearse(
                self.case.file,
                self.case.row,
                arrivals,
                runners=way.runners,
                threads=way.threads,
                max_rows=max(way.run_s),
            )
            beside.join()
            found.append(p99_s(times_s))
        return min(found)

    def _bears(self, rate: float, share: float) -> bool:
        return rate < self.in_process.rate * share

    def _queue_s(self, arrived_s: Sequence[float], share: float) -> Times:
        """Times in the best simulated queue that has this share of the cores."""
        queues = [
            sojourns_s(arrived_s, partial(_seconds, way, share), runners=way.runners, max_rows=most)
            for way in self.ways
            for most in {way.best_rows, max(way.run_s)}
        ]
        return min(queues, key=p99_s)


def _seconds(way: Costs, share: float, rows: int) -> float:
    return way.seconds(rows) / share


@contextmanager
def served(name: str, folder: Path, plan: Plan) -> Iterator[Served]:
    """Serve a case alone, once its answer has been compared with the model's own.

    Raises:
        CaseMissing: The package that ships the model is not installed.
        WrongAnswer: The server answers something else than the model says.
    """
    case = make(name, folder)
    # Before any server runs. One that mixes rows has no second row to run.
    cores = available_cores()
    ways = costs_of(case.file, case.row, cores=cores, sizes=_SIZES if case.batches else (1,), budget_s=plan.limit_s)
    with ExitStack() as stack:
        server = stack.enter_context(serving(case.repository))
        rows = Rows(case)
        answer = answer_for(server.address, case.request)
        rows.check(answer)
        echo = stack.enter_context(bare_echo(len(answer)))
        target, echo_target = (
            stack.enter_context(aimed(one, [case.request], model=model, answer_bytes=len(answer)))
            for one, model in ((server, name), (echo, ""))
        )
        yield Served(
            case=case,
            server=server,
            target=target,
            echo=echo,
            echo_target=echo_target,
            answer_bytes=len(answer),
            rows=rows,
            ways=ways,
        )


def capacity_per_s(target: Aimed, plan: Plan) -> float:
    """The highest rate of an open loop that is answered as it comes, in steps of a tenth.

    Steps down from the rate of a closed loop of many callers, which always finds full batches waiting and so is higher.
    """
    rate = measure(target, Load(kind="closed", callers=CAPACITY_CALLERS), plan.rate_s, plan.seed).rate_reached_per_s
    for _ in range(_MOST_STEPS):
        found = measure(target, Load(arrivals="poisson", rate_per_s=rate), plan.rate_s, plan.seed, attempts=1)
        if found.slip_share <= _MOST_SLIP and _keeps_up(found, rate):
            break
        rate *= _STEP_DOWN
    return rate


def _keeps_up(found: Point, rate: float) -> bool:
    """Whether requests at a rate are answered as they come. By Little's law, the mean latency tells how many wait."""
    return rate * found.mean_ms / 1e3 <= _MOST_UNDER_WAY
