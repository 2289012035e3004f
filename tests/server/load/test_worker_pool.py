"""Loads on a server with known delays and failures: what is counted is exactly what the server did."""

from __future__ import annotations

import subprocess
import time
from collections import Counter

import grpc
import pytest

from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.counters import WRONG_ANSWER
from sardonyx_server.load.loops import ClosedLoop, LoadGeneratorError, OpenLoop, Target
from sardonyx_server.load.report import Progress
from sardonyx_server.load.worker_pool import WorkerPool, default_processes
from tests.server.load.fakes import METHOD, Fake, Stall, serving

pytestmark = pytest.mark.slow


def target(address: str, *messages: bytes, answer_bytes: int | None = None, timeout_s: float = 30.0) -> Target:
    """A target with one message or those given."""
    return Target(
        address=address,
        method=METHOD,
        messages=messages or (b"ask",),
        answer_bytes=answer_bytes,
        timeout_s=timeout_s,
    )


def at_once(_number: int, _context: grpc.ServicerContext) -> bytes:
    """An empty answer."""
    return b""


def one_in_ten_takes_half_a_second(number: int, context: grpc.ServicerContext) -> bytes:
    """The slow ones are far from what a busy machine does to the others."""
    if number % 10 == 0:
        time.sleep(0.5)
    return b"answer"


@pytest.mark.parametrize(
    "load", [OpenLoop(rate=100.0), ClosedLoop(concurrency=8, requests=100)], ids=["open", "closed"]
)
def test_slow_answers_are_counted_one_for_one(load: OpenLoop | ClosedLoop) -> None:
    """As many latencies of half a second as the server took half a second for."""
    fake = Fake(one_in_ten_takes_half_a_second)
    with serving(fake) as address, WorkerPool(target(address), processes=2, connections=4) as pool:
        report = pool.run(load, duration_s=1.0 if isinstance(load, OpenLoop) else 60.0)
    assert report.sent == report.answered == len(fake.requests)
    assert report.latencies.count_above(0.499) == (len(fake.requests) + 9) // 10
    assert report.statuses == {}


def test_a_stall_is_seen_by_every_request_that_was_due_in_it() -> None:
    """The server stalls for 0.3 s at 200/s: 60 requests were due, those of the first 0.25 s waited 0.05 s or more.

    A generator that waits for answers, or times requests from when they were sent, would see a handful.
    """
    fake = Fake(Stall(at=60, stall_s=0.3))
    load = OpenLoop(rate=200.0, arrivals=Arrivals.CONSTANT)
    with serving(fake) as address, WorkerPool(target(address), processes=1, connections=2) as pool:
        report = pool.run(load, duration_s=1.0)
    assert report.sent == len(fake.requests) == 200
    assert report.latencies.count_above(0.05) >= 30


def test_failures_are_counted_by_status_and_none_is_lost() -> None:
    """They are no answers, and their latencies are not among those of answers."""

    def answer(number: int, context: grpc.ServicerContext) -> bytes:
        if number % 4 == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        if number % 4 == 1:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return b"long answer" if number % 4 == 2 else b"answer"

    with (
        serving(Fake(answer)) as address,
        WorkerPool(target(address, answer_bytes=6), processes=2, connections=2) as pool,
    ):
        report = pool.run(ClosedLoop(concurrency=4, requests=80))
    assert report.statuses == {"RESOURCE_EXHAUSTED": 20, "INTERNAL": 20, WRONG_ANSWER: 20}
    assert (report.sent, report.answered, report.failed, report.latencies.count) == (80, 20, 60, 20)


def test_a_request_that_is_not_answered_in_time_has_failed() -> None:
    """With the status that gRPC gives it."""

    def answer(number: int, context: grpc.ServicerContext) -> bytes:
        if number == 0:
            time.sleep(1.5)
        return b""

    with (
        serving(Fake(answer)) as address,
        WorkerPool(target(address, timeout_s=1.0), processes=1, connections=1) as pool,
    ):
        report = pool.run(ClosedLoop(concurrency=1, requests=3))
    assert report.statuses == {"DEADLINE_EXCEEDED": 1}
    assert report.answered == 2


def test_messages_are_sent_in_turn() -> None:
    """As often as each other, by each process."""
    fake = Fake(at_once)
    messages = (b"one", b"two", b"three")
    with serving(fake) as address, WorkerPool(target(address, *messages), processes=2, connections=2) as pool:
        pool.run(ClosedLoop(concurrency=2, requests=60))
    assert Counter(fake.requests) == dict.fromkeys(messages, 20)


def test_runs_follow_one_another_on_the_same_connections() -> None:
    """Each counts its own requests, and tells how far it is."""
    seen: list[Progress] = []
    fake = Fake(at_once)
    with serving(fake) as address, WorkerPool(target(address), processes=2, connections=3) as pool:
        first = pool.run(OpenLoop(rate=50.0, arrivals=Arrivals.CONSTANT), duration_s=0.5)
        second = pool.run(OpenLoop(rate=20.0, arrivals=Arrivals.CONSTANT), duration_s=1.0, on_progress=seen.append)
    assert (first.sent, second.sent, len(fake.requests)) == (25, 20, 45)
    assert seen
    assert all(progress.answered <= 20 and progress.duration_s == 1.0 for progress in seen)


def test_a_closed_loop_has_no_slip() -> None:
    """No request is due before it is sent."""
    with (
        serving(Fake(at_once)) as address,
        WorkerPool(target(address), processes=1, connections=1) as pool,
    ):
        assert pool.run(ClosedLoop(concurrency=2), duration_s=0.2).slip == 0.0


def test_a_process_that_ends_early_fails_the_run() -> None:
    """Its requests would be missing from the figures."""
    with (
        serving(Fake(at_once)) as address,
        WorkerPool(target(address), processes=2, connections=2) as pool,
        pytest.raises(LoadGeneratorError, match=r"^sending process 2 of 2 ended early$"),
    ):
        pool.run(OpenLoop(rate=10.0), duration_s=60.0, on_progress=lambda _progress: pool._processes[1].kill())


def test_leaving_ends_the_processes_in_the_middle_of_a_run() -> None:
    """Ctrl-C leaves nothing behind."""
    with serving(Fake(at_once)) as address:
        pool = WorkerPool(target(address), processes=2, connections=2)
        processes: list[subprocess.Popen[str]] = []

        def interrupt(progress: Progress) -> None:
            processes.extend(pool._processes)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), pool:
            pool.run(OpenLoop(rate=10.0), duration_s=60.0, on_progress=interrupt)
    assert [process.poll() for process in processes] == [0, 0]


@pytest.mark.parametrize(
    ("rate", "cores", "processes"),
    [(500.0, 32, 1), (10_000.0, 32, 1), (25_000.0, 32, 3), (1e6, 32, 4), (1e6, 2, 1), (None, 6, 3), (None, 1, 1)],
)
def test_a_process_for_each_ten_thousand_requests_a_second(rate: float | None, cores: int, processes: int) -> None:
    """At most four, and half of the cores."""
    assert default_processes(rate, cores=cores) == processes
