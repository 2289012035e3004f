"""CPU time of a thread, which excludes the time that other threads and processes used the core."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ReadThreadCpuTime", "ThreadCpuTime", "thread_cpu_time"]


class ThreadCpuTime(NamedTuple):
    """CPU usage of a thread since it started.

    Attributes:
        seconds: CPU time.
        voluntary_switches: Voluntary context switches: it waited for a lock, a device or another thread.
    """

    seconds: float
    voluntary_switches: int


ReadThreadCpuTime: TypeAlias = "Callable[[], ThreadCpuTime]"
"""Returns the CPU usage of the calling thread."""

if sys.platform == "linux":
    import resource

    def thread_cpu_time() -> ThreadCpuTime:
        """CPU usage of the calling thread. Takes one or two microseconds."""
        voluntary_switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        # Not from getrusage(), which is updated for a running thread only every few milliseconds.
        return ThreadCpuTime(time.thread_time(), voluntary_switches)

else:

    def thread_cpu_time() -> ThreadCpuTime:
        """Wall-clock time: the CPU time of a thread with these counters is not available on this system."""
        return ThreadCpuTime(time.perf_counter(), 0)
