"""CPU affinity: separate cores for servers and load generator, which on shared cores disturb each other. Linux only.

iris at 5,000 requests a second on two cores, three loads in a row (2026-11-26): p99 1.33, 1.36 and 1.38 ms with a core
for each, 2.3 to 23.6 ms if the scheduler chooses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["UNPINNED", "Cores", "pinned_to", "split_cores"]

_GENERATOR_SHARE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Ids of cores.

    Attributes:
        server: Cores of the servers, which are measured in turns; empty = the scheduler chooses.
        generator: Cores of the load generator; empty = the scheduler chooses.
    """

    server: frozenset[int] = frozenset()
    generator: frozenset[int] = frozenset()

    def __str__(self) -> str:
        if not self.server:
            return "the scheduler chooses cores for servers and generator"
        return f"{_counted(self.server)} for the servers, {_counted(self.generator)} for the generator"


UNPINNED: Final = Cores()


def split_cores() -> Cores:
    """A quarter of the cores, at least one, for the generator, the rest for the servers; unpinned on a single core."""
    if sys.platform != "linux":
        return UNPINNED
    cores = sorted(os.sched_getaffinity(0))
    few = max(1, len(cores) // _GENERATOR_SHARE)
    return Cores(server=frozenset(cores[:-few]), generator=frozenset(cores[-few:])) if len(cores) > 1 else UNPINNED


@contextmanager
def pinned_to(cores: frozenset[int]) -> Iterator[None]:
    """Pin this thread, and permanently the processes that it starts meanwhile, to these cores; empty = any core."""
    if sys.platform != "linux" or not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _counted(cores: frozenset[int]) -> str:
    return f"{len(cores)} core{'s' if len(cores) > 1 else ''}"
