"""An open loop: calls at a constant rate, whether or not earlier ones have been answered, and how long each took.

A closed loop sends less while the server is slow, and so hides the very thing a percentile is to show. Here a latency
counts from the time a call was due, so a caller that was held up is seen too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.control import Child, child

__all__ = ["Call", "Steady", "p99_s", "steady"]

_P99: Final = 99


@dataclass(frozen=True, slots=True)
class Call:
    """One that was answered.

    Attributes:
        due_s: When it was to be sent, on the machine's monotonic clock.
        latency_s: From then to its answer.
    """

    due_s: float
    latency_s: float


class Steady:
    """A process that calls.

    Args:
        pacer: A running ``bench.load.pacer``.
    """

    def __init__(self, pacer: Child) -> None:
        self._pacer = pacer

    def start(self, rate: float) -> None:
        """Begin to call, so many times a second."""
        self._pacer.ask(json.dumps({"rate": rate}))

    def stop(self) -> list[Call]:
        """Send no more, wait for the last answer, and tell of all.

        Raises:
            ChildFailed: A call failed.
        """
        return [Call(due_s, latency_s) for due_s, latency_s in self._pacer.ask("{}")["calls"]]

    def measure(self, rate: float, seconds: float) -> list[Call]:
        """Call for some time. Blocks."""
        self.start(rate)
        time.sleep(seconds)
        return self.stop()


@contextmanager
def steady(address: str, method: str, body: Path) -> Iterator[Steady]:
    """A caller, connected.

    Args:
        address: Host and port.
        method: Full name.
        body: File of the serialised message.
    """
    with child("bench.load.pacer", [address, method, str(body)]) as pacer:
        yield Steady(pacer)


def p99_s(calls: Sequence[Call]) -> float:
    """99th percentile of latencies. Requires: at least one call."""
    return float(np.percentile([call.latency_s for call in calls], _P99))
