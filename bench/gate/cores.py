"""Which cores servers and generator get, each their own: on a core they share, each is the other's noise. Linux only.

iris at 5,000 requests a second on two cores, three loads in a row (2026-11-26): p99 1.33, 1.36 and 1.38 ms with a core
for each, 2.3 to 23.6 ms where the scheduler chose.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["FREE", "Cores", "divided", "on"]

_GENERATOR_SHARE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Numbers of cores.

    Attributes:
        server: Of servers, which take turns; empty = the scheduler chooses.
        generator: Of what sends the load; likewise.
    """

    server: frozenset[int] = frozenset()
    generator: frozenset[int] = frozenset()

    def __str__(self) -> str:
        if not self.server:
            return "the scheduler chooses cores for servers and generator"
        return f"{_counted(self.server)} for the servers, {_counted(self.generator)} for the generator"


FREE: Final = Cores()


def divided() -> Cores:
    """A quarter for the generator, one at least, and the rest for the servers; free where there is only one."""
    if sys.platform != "linux":
        return FREE
    cores = sorted(os.sched_getaffinity(0))
    few = max(1, len(cores) // _GENERATOR_SHARE)
    return Cores(server=frozenset(cores[:-few]), generator=frozenset(cores[-few:])) if len(cores) > 1 else FREE


@contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """Keep this thread, and for all their life the processes that it starts meanwhile, on these cores; empty = any."""
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
