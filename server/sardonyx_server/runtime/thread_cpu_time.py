"""What a thread has had of a core: the time that others had is not that of its runs. Measures no runs itself."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ReadThreadCpuTime", "ThreadCpuTime", "thread_cpu_time"]


class ThreadCpuTime(NamedTuple):
    """What a thread has had since it began.

    Attributes:
        seconds: On a core.
        voluntary_switches: How often it gave its core up by itself, for a lock, a device or another thread.
    """

    seconds: float
    voluntary_switches: int


ReadThreadCpuTime: TypeAlias = "Callable[[], ThreadCpuTime]"
"""What the calling thread has had so far."""

if sys.platform == "linux":
    import resource

    def thread_cpu_time() -> ThreadCpuTime:
        """Of the calling thread. Takes a microsecond or two."""
        voluntary_switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        # Not of getrusage(), which learns how long a running thread has run only every few milliseconds.
        return ThreadCpuTime(time.thread_time(), voluntary_switches)

else:

    def thread_cpu_time() -> ThreadCpuTime:
        """As if the calling thread had had a core all the time: what others had is not told here."""
        return ThreadCpuTime(time.perf_counter(), 0)
