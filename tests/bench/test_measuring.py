"""What is stored of a load is what the server did: delays, failures and figures that are known."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import serving as bench_serving
from bench.arms import fetch_answer
from bench.cases import make
from bench.serving import Figures, Server
from bench.store import Load, Point
from bench.suite.measuring import Wire, load_target, make_loop, make_point, measure
from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import ClosedLoop, OpenLoop
from tests.server.load.fakes import Fake, report, serving

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

OPEN = Load(arrivals="poisson", rate_per_s=100.0)
NOTHING = Figures(cpu_s=0.0)


def point(load: Load = OPEN, *, late: int = 0, deadline_s: float | None = None) -> Point:
    """Of a second in which 98 requests took 10 ms and 2 took 300 ms."""
    found = report({0.01: 98, 0.3: 2}, late=late)
    return make_point(found, load, NOTHING, seed=7, deadline_s=deadline_s)


def test_percentiles_are_those_of_the_latencies() -> None:
    """To the 3 digits of the histogram; the stored histogram gives the same again."""
    found = point()
    assert found.p50_ms == pytest.approx(10, rel=1e-3)
    assert found.p90_ms == pytest.approx(10, rel=1e-3)
    assert found.p99_ms == pytest.approx(300, rel=1e-3)
    assert found.mean_ms == pytest.approx(15.8, rel=1e-3)
    again = Latencies.decoded(found.histogram)
    assert again.count == 100
    assert again.percentile_s(99) == pytest.approx(0.3, rel=1e-3)


def test_an_answer_after_its_deadline_is_no_good_one() -> None:
    """Two of a hundred came late."""
    assert point(deadline_s=0.1).goodput_per_s == pytest.approx(98)
    assert point().goodput_per_s == pytest.approx(100)


@pytest.mark.parametrize(("late", "valid"), [(0, True), (1, True), (2, False)])
def test_more_than_one_percent_of_slip_does_not_count(late: int, valid: bool) -> None:
    """Of a hundred requests."""
    assert point(late=late).valid is valid


@pytest.mark.parametrize(("arrivals", "max_late_s", "valid"), [("burst", 0.009, True), ("burst", 0.011, False)])
def test_a_burst_counts_where_it_was_sent_in_a_tenth_of_its_time(arrivals: str, max_late_s: float, valid: bool) -> None:
    """However many of its requests went out after the first."""
    found = replace(report({0.01: 100}, late=90), max_late_s=max_late_s)
    load = Load(arrivals=arrivals, rate_per_s=100.0)
    assert make_point(found, load, NOTHING, seed=0).valid is valid


def test_figures_are_what_came_between_two_readings() -> None:
    """Runs, stages and CPU, all of them sums."""
    before = Figures(cpu_s=1.0, requests=10, runs={1: 10, 2: 1}, run_ns={1: 900, 2: 500}, stages_ns={"queue": 1000})
    after = Figures(
        cpu_s=1.5,
        requests=30,
        runs={1: 10, 2: 4, 4: 2},
        run_ns={1: 900, 2: 6500, 4: 8000},
        stages_ns={"queue": 21_000, "run": 40_000},
    )
    grown = after.since(before)
    assert grown.runs == {2: 3, 4: 2}
    assert grown.mean_rows == pytest.approx(14 / 5)
    found = make_point(report({0.0001: 20}), OPEN, grown, seed=0)
    assert found.cpu_s_per_1000 == pytest.approx(25)
    assert found.batch_sizes == {"2": 3, "4": 2}
    assert found.batch_run_us == {"2": 2.0, "4": 4.0}
    # 20 requests: 1 us in the queue, 2 us in the run, and what is left of the 100 us that a caller saw.
    assert found.stages_us == pytest.approx({"queue": 1.0, "run": 2.0, "transport": 97.0})


def test_loads_of_the_store_are_loads_of_the_generator() -> None:
    """A stored load without what it needs is refused."""
    assert make_loop(Load(arrivals="burst", rate_per_s=5.0), 3) == OpenLoop(rate=5.0, arrivals=Arrivals.BURST, seed=3)
    assert make_loop(Load(kind="closed", callers=4), 3) == ClosedLoop(concurrency=4)
    with pytest.raises(ValueError, match="expected an open loop with a rate or a closed one with callers"):
        make_loop(Load(kind="closed"), 3)


@pytest.mark.slow
@pytest.mark.parametrize("load", [Load(arrivals="constant", rate_per_s=100.0), Load(kind="closed", callers=4)])
def test_known_delays_are_found(load: Load) -> None:
    """Every tenth request takes 0.2 s: so does p99, and the median does not."""

    def answer(number: int, _context: grpc.ServicerContext) -> bytes:
        if number % 10 == 0:
            time.sleep(0.2)
        return b"answer"

    fake = Fake(answer)
    with serving(fake) as address:
        server = Server(address=address, pid=os.getpid())
        with load_target(server, [b"ask"], answer_bytes=len(b"answer"), wire=Wire(connections=2)) as target:
            warm = len(fake.requests)
            found = measure(target, load, 1.0, 0)
            asked = len(fake.requests) - warm
    assert found.failed == {}
    assert found.answered <= asked
    assert Latencies.decoded(found.histogram).count_above(0.199) >= found.answered // 10
    assert found.p99_ms >= 200
    assert found.p50_ms < 200
    assert (found.batch_sizes, found.stages_us) == (None, None)


@pytest.mark.slow
def test_a_server_is_read_from_outside(tmp_path: Path) -> None:
    """Every row that was answered is in a run of some size, and every stage took its time."""
    case = make("iris", tmp_path)
    with bench_serving.serving(case.repository) as server:
        answer = fetch_answer(server.address, case.request)
        with load_target(
            server, [case.request], model=case.name, answer_bytes=len(answer), wire=Wire(connections=2)
        ) as target:
            found = measure(target, Load(kind="closed", callers=4), 0.3, 0)
            nobody_asks = server.figures(case.name).since(server.figures(case.name))
    assert found.answered > 0
    assert found.failed == {}
    assert sum(int(rows) * runs for rows, runs in (found.batch_sizes or {}).items()) == found.answered
    assert (found.stages_us or {}).keys() == {"transport", "decode", "queue", "gather", "run", "encode"}
    assert (found.cpu_s_per_1000 or 0.0) > 0
    assert (found.peak_memory_bytes or 0) > 20_000_000
    assert (nobody_asks.requests, nobody_asks.runs) == (0, {})
