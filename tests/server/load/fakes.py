"""A server that answers anything after known delays or with known failures, and reports made by hand."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from sardonyx_server.load.latencies import Latencies
from sardonyx_server.load.loops import OpenLoop
from sardonyx_server.load.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sardonyx_server.load.loops import Load

__all__ = ["METHOD", "Fake", "Stall", "report", "serving"]

METHOD = "/fake.Service/Ask"
_THREADS = 128


class Fake(grpc.GenericRpcHandler):
    """Answers what ``answer`` returns, called with the number of the request, from 0, and its context."""

    def __init__(self, answer: Callable[[int, grpc.ServicerContext], bytes]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.requests: list[bytes] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Every method."""
        return grpc.unary_unary_rpc_method_handler(self._ask)

    def _ask(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
        return self._answer(number, context)


class Stall:
    """Answers nothing for a while, once: what comes in that time is answered at its end."""

    def __init__(self, *, at: int, stall_s: float) -> None:
        self._at = at
        self._stall_s = stall_s
        self._until_s = 0.0

    def __call__(self, number: int, context: grpc.ServicerContext) -> bytes:
        """Wait for the end of the stall."""
        if number == self._at:
            self._until_s = time.monotonic() + self._stall_s
        time.sleep(max(self._until_s - time.monotonic(), 0))
        return b""


@contextmanager
def serving(fake: grpc.GenericRpcHandler) -> Iterator[str]:
    """Serve it: the address."""
    server = grpc.server(ThreadPoolExecutor(_THREADS))
    server.add_generic_rpc_handlers((fake,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def report(
    latencies_s: Mapping[float, int],
    *,
    load: Load | None = None,
    statuses: Mapping[str, int] | None = None,
    late: int = 0,
    window_s: float = 1.0,
) -> Report:
    """A report with these latencies (seconds -> how many) and failures."""
    counts = {round(value_s * 1e9): number for value_s, number in latencies_s.items()}
    answered, failures = sum(counts.values()), dict(statuses or {})
    return Report(
        load=load or OpenLoop(rate=100.0),
        window_s=window_s,
        sent=answered + sum(failures.values()),
        in_time=answered,
        statuses=failures,
        late=late,
        max_late_s=0.0,
        cpu_s=0.0,
        latencies=Latencies(
            counts, sum_ns=sum(key * number for key, number in counts.items()), max_ns=max(counts, default=0)
        ),
    )
