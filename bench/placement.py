"""CPU placement: which cores the servers and the load generator run on, and with which priority. Linux only.

With one request at a time, most of the latency is the wake-up of a sleeping process, which costs three times as much on
another core as on the same one. The scheduler chooses, and its choice changes between turns.

When requests are due at given times, the generator must get a core at those times, as callers on other machines would.
It shares the cores only because there are no others. Hence :func:`punctual`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FREE", "Placement", "placed", "placements", "punctual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where to run.

    Attributes:
        name: Name in reports.
        server: Core of the servers; None = the scheduler chooses.
        generator: Core of the load generator; None = the scheduler chooses.
    """

    name: str
    server: int | None = None
    generator: int | None = None


FREE = Placement(name="free")


def placements() -> list[Placement]:
    """Unpinned, on two cores, and on one core, as far as this machine supports that."""
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
    """Pin servers, and whatever this process starts meanwhile, to the cores of a placement.

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
def punctual(generator: Sequence[int], servers: Sequence[int]) -> Iterator[None]:
    """Give the load generator real-time priority (SCHED_FIFO for all of its threads), so that it gets a core at once.

    Otherwise a request that is due while a model runs on every core is sent up to a time slice (3 ms) late, and every
    measurement on a loaded machine would have to be discarded. The generator needs a core for microseconds only, and
    the servers are unchanged. A user without that permission (root has it, and users with RLIMIT_RTPRIO) lowers the
    servers to SCHED_IDLE instead; that cannot be undone, so such servers keep it. All arms of a comparison must be
    measured alike.

    Args:
        generator: Its processes; what they start meanwhile inherits the priority.
        servers: Server processes to lower if the generator's priority cannot be raised; may be empty.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = _schedule(generator, os.SCHED_FIFO)
    if not allowed:
        _schedule(servers, os.SCHED_IDLE)
    try:
        yield
    finally:
        _schedule(generator if allowed else servers, os.SCHED_OTHER)


def _schedule(pids: Sequence[int], policy: int) -> bool:
    """Set the policy of each thread; new threads inherit it. Returns whether it was permitted."""
    if sys.platform == "linux":
        priority = os.sched_param(os.sched_get_priority_min(policy))
        for pid in pids:
            try:
                for task in Path("/proc", str(pid), "task").iterdir():
                    os.sched_setscheduler(int(task.name), policy, priority)
            except PermissionError:
                return False
            except OSError:
                continue  # it has ended
    return True


def _pin(pids: Sequence[int], cores: set[int]) -> None:
    """Pin each thread: a process with threads cannot be pinned as a whole."""
    if sys.platform == "linux":
        for pid in pids:
            for task in Path("/proc", str(pid), "task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
