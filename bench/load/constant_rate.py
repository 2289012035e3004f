"""An open loop at a constant rate: calls are sent when they are due, whether or not earlier ones have completed.

A closed loop sends less while the server is slow, and so hides what a percentile should show (coordinated omission).
Here latency counts from the time a call was due, so delayed callers are seen. The calls are sent by the project's own
generator, which gets a core when it needs one (:func:`bench.placement.punctual`) and uses very little of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.placement import punctual
from sardonyx_server.load.arrivals import Arrivals
from sardonyx_server.load.loops import LoadGeneratorError, OpenLoop, Target
from sardonyx_server.load.report import MAX_SLIP, Report
from sardonyx_server.load.worker_pool import WorkerPool

__all__ = ["RATE_PER_S", "ConstantRateLoad", "constant_rate_load"]

RATE_PER_S: Final = 500.0
"""Calls a second: some percent of what a server of iris can answer, so that a late answer is not the queue's."""

# Of one, so that the server has one socket to read, as from one caller.
_CONNECTIONS: Final = 1
_WARM_UP_S: Final = 0.5


class ConstantRateLoad:
    """A process that calls.

    Args:
        senders: Connected.
    """

    def __init__(self, senders: WorkerPool) -> None:
        self._senders = senders

    def measure(self, seconds: float) -> Report:
        """Call for some time. Blocks until all calls are answered.

        Raises:
            LoadGeneratorError: A call failed, or the generator was late twice.
        """
        report = self._run(seconds)
        if not report.is_valid:
            # A hiccup of the machine that made the generator late must not cost the bar, so once more.
            report = self._run(seconds)
        if not report.is_valid:
            late = f"{report.slip:.1%} of the calls were sent over 1 ms late"
            raise LoadGeneratorError(f"{late}, expected at most {MAX_SLIP:.0%}")
        return report

    def _run(self, seconds: float) -> Report:
        load = OpenLoop(rate=RATE_PER_S, arrivals=Arrivals.CONSTANT)
        # The server stays as it is: if all its threads gave way, loading would give way to nothing.
        with punctual(self._senders.pids, servers=()):
            report = self._senders.run(load, duration_s=seconds)
        if report.failed:
            raise LoadGeneratorError(f"{report.failed} of {report.sent} calls failed: {dict(report.statuses)}")
        return report


@contextmanager
def constant_rate_load(address: str, method: str, request: bytes) -> Iterator[ConstantRateLoad]:
    """A caller, connected and warm.

    Args:
        address: Host and port.
        method: Full name.
        request: The serialised message.

    Raises:
        LoadGeneratorError: No connection.
    """
    target = Target(address=address, method=method, messages=(request,))
    with WorkerPool(target, processes=1, connections=_CONNECTIONS) as senders:
        calls = ConstantRateLoad(senders)
        calls.measure(_WARM_UP_S)
        yield calls
