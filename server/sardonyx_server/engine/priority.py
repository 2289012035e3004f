"""Thread priorities: loading uses only the CPU time that serving leaves, and the lane gets a CPU as soon as it wakes.

Linux only; on other systems all threads have the same priority.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

__all__ = ["SHORT_SLICE_S", "has_low_priority", "lower_priority", "normal_priority_executor", "use_short_time_slices"]

SHORT_SLICE_S: Final = 100e-6
"""The shortest time slice that Linux grants; the default is 1 to 3 ms (sched(7), ``sched_runtime``)."""

# Added to the nice value of a low-priority thread: next to a busy normal one it gets a thirtieth of a core. SCHED_IDLE
# is no better for the requests being served, and makes no progress while all cores are busy.
_NICE_INCREMENT: Final = 15

_THREAD: Final = threading.local()

# sched_setattr(2), which Python and older C libraries lack: system call number by machine, and struct sched_attr.
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")


def lower_priority() -> None:
    """Lower the calling thread's priority permanently; threads that it starts afterwards inherit it. Idempotent."""
    if has_low_priority():
        return
    _THREAD.lowered = True
    if sys.platform == "linux":
        thread_id = threading.get_native_id()
        # A sandbox may forbid it; then loading competes with serving. The kernel clamps the value to 19.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread_id, os.getpriority(os.PRIO_PROCESS, thread_id) + _NICE_INCREMENT)


def use_short_time_slices() -> None:
    """Let the calling thread preempt computing threads when it wakes. Meant for a thread that needs little CPU time.

    It requests no larger share of the CPUs, only shorter time slices, which the scheduler grants sooner. Without them,
    answers waited for a core while the next batch ran on all of them: with a model of 1 ms, 1 % waited for more than
    1.2 to 2 ms, and with them for more than 0.2 to 0.6 ms (2026-11-26). Has no effect before Linux 6.12, or where the
    operator has chosen another scheduling policy.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    slice_ns = round(SHORT_SLICE_S * 1e9)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, slice_ns, 0, 0)
    # A sandbox may forbid it; then nothing changes, and the result can be ignored.
    ctypes.CDLL(None).syscall(number, 0, attributes, 0)


def has_low_priority() -> bool:
    """Whether the calling thread called :func:`lower_priority` itself."""
    return getattr(_THREAD, "lowered", False)


def normal_priority_executor() -> ThreadPoolExecutor:
    """Return a thread from which to start others: it, and so they, have the priority of the thread that calls this."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
    executor.submit(int).result()
    return executor
