"""Which cores server and load generator run on, where a comparison depends on it. Linux only; elsewhere it is free.

With one request at a time, most of a latency is the waking of a sleeping process, and that costs three times as much on
another core as on the same one. The scheduler chooses, and changes its mind between turns.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FREE", "Placement", "placed", "placements"]


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


def _pin(pids: Sequence[int], cores: set[int]) -> None:
    """Each thread by itself: a process as a whole cannot be pinned once it has threads."""
    if sys.platform == "linux":
        for pid in pids:
            for task in Path("/proc", str(pid), "task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
