"""The bars of idle streams: the memory of a thousand of them, and their effect on the p99 of unary calls."""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import Final

from bench.bars import Bar, Outcome
from bench.cases import METHOD, make
from bench.control import child
from bench.load.constant_rate import RATE_PER_S, ConstantRateLoad, constant_rate_load
from bench.processes import memory_bytes
from bench.serving import Server, serving
from bench.testbed import Plan
from sardonyx_wire.messages import METHODS

__all__ = ["STREAM_MEMORY", "STREAM_P99", "streams"]

STREAM_MEMORY: Final = Bar(name="memory of 1,000 idle streams", target=20, at_least=False, unit="MB")
STREAM_P99: Final = Bar(name="p99 of unary calls beside 1,000 idle streams, of it alone", target=1.2, at_least=False)

_STREAMS: Final = 1000
_CONNECTIONS: Final = 10
# What opening or closing a thousand streams sets off is not idleness.
_SETTLE_S: Final = 1.0
_P99: Final = 99.0
_MS: Final = 1e3
_MB: Final = 1e6


def streams(plan: Plan) -> list[Outcome]:
    """A fresh server for each turn, so that memory is not what an earlier turn has left free."""
    case = make("iris", plan.folder)
    body = plan.folder / "request"
    body.write_bytes(case.request)
    memory_mb, beside_s, alone_s = [], [], []
    for turn in range(plan.turns):
        with (
            serving(case.repository) as server,
            constant_rate_load(server.address, METHOD, case.request) as calls,
        ):
            calls.measure(plan.seconds)  # What the first calls allocate is not the streams'.
            if turn % 2:
                alone_s.append(_p99_s(calls, plan))
            with ExitStack() as stack:
                before_bytes = memory_bytes(server.pid)
                _open(server, str(body), stack)
                memory_mb.append((memory_bytes(server.pid) - before_bytes) / _MB)
                beside_s.append(_p99_s(calls, plan))
            if turn % 2 == 0:
                alone_s.append(_p99_s(calls, plan))
    return [
        Outcome(
            bar=STREAM_MEMORY,
            values=memory_mb,
            remark=f"growth of VmRSS; {_CONNECTIONS} connections, theirs included; each stream has had one answer",
        ),
        Outcome(
            bar=STREAM_P99,
            values=[beside / alone for beside, alone in zip(beside_s, alone_s, strict=True)],
            remark=f"p99 at {RATE_PER_S:g} calls/s, from the time each was due: {median(beside_s) * _MS:.2f} ms beside "
            f"them, {median(alone_s) * _MS:.2f} ms alone",
            details={"beside_s": beside_s, "alone_s": alone_s},
        ),
    ]


def _open(server: Server, body: str, stack: ExitStack) -> None:
    """Returns when all are open and have had an answer each."""
    arguments = [server.address, METHODS["ModelStreamInfer"].path, body, str(_STREAMS), str(_CONNECTIONS)]
    stack.enter_context(child("bench.load.idle_streams", arguments))


def _p99_s(calls: ConstantRateLoad, plan: Plan) -> float:
    time.sleep(_SETTLE_S)
    return calls.measure(plan.seconds).latencies.percentile_s(_P99)
