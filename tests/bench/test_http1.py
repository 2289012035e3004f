"""Loads over HTTP/1.1: what is counted is exactly what the server did, as for gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.load.http1 import HTTP1_WORKER, over_http1
from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.counters import WRONG_ANSWER, RunCounters
from sardonyx_server.load.loops import ClosedLoop, LoadGeneratorError, OpenLoop, Target
from sardonyx_server.load.sender import Sender
from sardonyx_server.load.worker_pool import WorkerPool
from tests.server.load.senders import answered, at_once, closed

Answer = Callable[[int, BaseHTTPRequestHandler], tuple[int, bytes]]
"""Number of the request, and who answers it -> status and body."""


class Served:
    """A server, and what it has seen."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.connections = 0
        self.lock = threading.Lock()


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, Served]]:
    """A server on a free port: its address, and what it has seen."""
    seen = Served(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with seen.lock:
                seen.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with seen.lock:
                number = len(seen.bodies)
                seen.bodies.append(body)
            status, data = seen.answer(number, self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_words: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def sending(
    address: str, *messages: bytes, connections: int = 1, answer_bytes: int | None = None, timeout_s: float = 60.0
) -> Iterator[Sender]:
    """A connected sender."""
    target = Target(
        address=address,
        method="/predict",
        messages=messages or (b"ask",),
        answer_bytes=answer_bytes,
        timeout_s=timeout_s,
    )
    sender = over_http1(target, connections=connections)
    try:
        sender.connect()
        yield sender
    finally:
        sender.close()


def at_once_said(_number: int, _handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
    """Six bytes."""
    return 200, b"answer"


def test_each_request_is_answered_and_counted_once() -> None:
    """Each of the messages goes out in turn; callers keep their connections."""
    with serving(at_once_said) as (address, seen), sending(address, b"a", b"bc", connections=3) as sender:
        counters = closed(sender, callers=3, requests=40)
    assert (answered(counters), counters.statuses) == (40, {})
    assert sorted(seen.bodies) == [b"a"] * 20 + [b"bc"] * 20
    assert seen.connections == 3


def test_large_bodies_go_both_ways_in_pieces() -> None:
    """Neither a socket nor a read takes all of them."""
    body = bytes(range(256)) * 8192
    with (
        serving(lambda _number, _handler: (200, body)) as (address, seen),
        sending(address, body, connections=2, answer_bytes=len(body)) as sender,
    ):
        counters = closed(sender, callers=2, requests=6)
    assert (answered(counters), counters.statuses) == (6, {})
    assert seen.bodies == [body] * 6


def test_answers_that_are_none_are_failures() -> None:
    """By their status, and by their length."""

    def sometimes(number: int, _handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return {0: (503, b"busy!!"), 1: (200, b"short")}.get(number, (200, b"answer"))

    with serving(sometimes) as (address, _), sending(address, answer_bytes=6) as sender:
        counters = closed(sender, callers=1, requests=10)
    assert (answered(counters), counters.statuses) == (8, {"HTTP 503": 1, WRONG_ANSWER: 1})


def test_a_request_waits_for_a_free_connection_and_its_latency_counts_from_when_it_was_due() -> None:
    """Two that are due at once on one connection: the second one waits for the first one's answer as well."""

    def slowly(_number: int, _handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        time.sleep(0.1)  # What each answer takes: the second one's latency holds it twice.
        return 200, b""

    with serving(slowly) as (address, _), sending(address) as sender:
        counters = at_once(sender, requests=2)
    latencies_ns = sorted(counters.latencies.by_value())
    assert answered(counters) == 2
    assert latencies_ns[0] >= 0.099e9
    assert latencies_ns[-1] >= 0.198e9


def test_a_request_whose_time_is_up_is_given_up() -> None:
    """What it was answered later is nobody else's answer."""
    late = threading.Event()

    def first_hangs(number: int, _handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if number == 0:
            late.wait(60.0)
            return 200, b"late"
        return 200, b"answer"

    with serving(first_hangs) as (address, _), sending(address, answer_bytes=6, timeout_s=1.0) as sender:
        counters = closed(sender, callers=1, requests=4)
        late.set()
    assert (answered(counters), counters.statuses) == (3, {"DEADLINE_EXCEEDED": 1})


def test_a_connection_that_was_closed_for_idleness_costs_no_request() -> None:
    """It is opened anew, and what was sent just then is sent again."""

    def once(_number: int, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        handler.close_connection = True  # which the answer does not say
        return 200, b"answer"

    with serving(once) as (address, seen), sending(address) as sender:
        counters = closed(sender, callers=1, requests=5)
    assert (answered(counters), counters.statuses) == (5, {})
    assert seen.connections >= 5


def test_a_server_that_breaks_off_in_its_answer_has_failed() -> None:
    """Such a request is not sent again: the server may have done what it asks."""

    def half(number: int, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if number == 0:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nans")
            handler.wfile.flush()
            handler.connection.close()
            raise ConnectionAbortedError
        return 200, b"answer"

    with serving(half) as (address, seen), sending(address) as sender:
        counters = closed(sender, callers=1, requests=3)
    assert (answered(counters), counters.statuses) == (2, {"UNAVAILABLE": 1})
    assert len(seen.bodies) == 3


def test_an_answer_that_is_longer_than_it_says_has_failed() -> None:
    """What is behind it would be taken for the next one's."""

    def longer(number: int, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if number == 0:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer and more")
            handler.close_connection = True
            raise ConnectionAbortedError
        return 200, b"answer"

    with serving(longer) as (address, _), sending(address, answer_bytes=6) as sender:
        counters = closed(sender, callers=1, requests=3)
    assert (answered(counters), counters.statuses) == (2, {"UNAVAILABLE": 1})


def test_where_nobody_listens_the_load_has_failed() -> None:
    """It says where."""
    with serving(at_once_said) as (address, _):
        pass
    with pytest.raises(LoadGeneratorError, match=address), sending(address):
        pass


@pytest.mark.parametrize("address", ["nowhere", "host:http", "unix:/socket"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """It is shown."""
    with pytest.raises(LoadGeneratorError, match="expected HOST:PORT"):
        over_http1(Target(address=address, method="/", messages=(b"",)), connections=1)


@pytest.mark.slow
def test_a_worker_pool_sends_the_same_arrivals_over_it() -> None:
    """As many as over gRPC, at the same seed; none is skipped because its connection still waits."""
    load = OpenLoop(rate=400.0, arrivals=Arrivals.POISSON, seed=3)
    with serving(at_once_said) as (address, seen):
        target = Target(address=address, method="/predict", messages=(b"ask",), answer_bytes=6)
        with WorkerPool(target, processes=1, connections=8, worker=HTTP1_WORKER) as pool:
            pool.run(ClosedLoop(concurrency=8, requests=16))
            report = pool.run(load, duration_s=0.5)
    assert report.statuses == {}
    assert report.sent == report.answered == len(seen.bodies) - 16
    assert 150 < report.sent < 250


def test_what_is_counted_is_the_tally_of_the_run() -> None:
    """Each run has its own."""
    with serving(at_once_said) as (address, _), sending(address) as sender:
        first = closed(sender, callers=1, requests=2)
        second: RunCounters = closed(sender, callers=1, requests=3)
    assert (answered(first), answered(second)) == (2, 3)
