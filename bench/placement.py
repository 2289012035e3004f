"""Which cores server and load generator run on, where a comparison depends on it. Linux only; elsewhere it is free.

With one request at a time, most of a latency is the waking of a sleeping process, and that costs three times as much on
another core as on the same one. The scheduler chooses, and changes its mind between turns.

Where requests are due at given times, the generator must have a core at those times, as callers on machines of their
own have; it shares the cores only because there are no others. Hence :func:`yielding`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FREE", "Placement", "placed", "placements", "yielding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where to run.

    Attributes:
        name: For people.
        server: Core of the servers; None = the scheduler chooses.
        generator: Core of the generator; likewise.
    """

    name: str
    server: int | None = None
    generator: int | None = None


FREE = Placement(name="free")


def placements() -> list[Placement]:
    """Free first, then on two cores and on one, where this machine can do that."""
    if sys.platform != "linux":
        return [FREE]
    cores = sorted(os.sched_getaffinity(0))
    return [
        FREE,
        *(Placement(name="on two cores", server=cores[0], generator=other) for other in cores[1:2]),
        Placement(name="on one core", server=cores[0], generator=cores[0]),
    ]


@contextmanager
def placed(placement: Placement, pids: Sequence[int]) -> Iterator[None]:
    """Keep servers, and whatever this process starts meanwhile, on the cores of a placement.

    Args:
        placement: Where.
        pids: The servers' processes.
    """
    if sys.platform != "linux" or placement.server is None or placement.generator is None:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        _pin(pids, {placement.server})
        os.sched_setaffinity(0, {placement.generator})
        yield
    finally:
        os.sched_setaffinity(0, before)
        _pin(pids, before)


@contextmanager
def yielding(pids: Sequence[int]) -> Iterator[None]:
    """Let servers give way at once to whoever else wants their core: the policy SCHED_IDLE for all of their threads.

    Without it a request that is due while a model runs on every core goes out up to a time slice (3 ms) late, and every
    run on a loaded machine would be discarded for that. Servers that are compared must all be measured so. Who is not
    root cannot take the policy back; such servers keep it.

    Args:
        pids: The servers' processes.
    """
    if sys.platform != "linux":
        yield
        return
    _schedule(pids, os.SCHED_IDLE)
    try:
        yield
    finally:
        _schedule(pids, os.SCHED_OTHER)


def _schedule(pids: Sequence[int], policy: int) -> None:
    """Each thread by itself, as for pinning; those to come inherit it."""
    if sys.platform == "linux":
        for pid in pids:
            with suppress(OSError):
                for task in Path("/proc", str(pid), "task").iterdir():
                    os.sched_setscheduler(int(task.name), policy, os.sched_param(0))


def _pin(pids: Sequence[int], cores: set[int]) -> None:
    """Each thread by itself: a process as a whole cannot be pinned once it has threads."""
    if sys.platform == "linux":
        for pid in pids:
            for task in Path("/proc", str(pid), "task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
