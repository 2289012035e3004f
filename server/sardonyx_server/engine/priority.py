"""Priority of threads: loading takes only the time that serving leaves, and the lane is not kept waiting by the runs.

Linux only; elsewhere all threads are alike.
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

__all__ = ["SHORT_TURN_S", "is_lowered", "lower_priority", "normal_priority", "take_short_turns"]

SHORT_TURN_S: Final = 100e-6
"""The shortest turn on a core that Linux grants; it takes 1 to 3 ms where nobody asks (sched(7), ``sched_runtime``)."""

# Added to the nice value of a thread that gives way: beside one that does not it gets a thirtieth of a core.
# SCHED_IDLE is no better for those who are served, and beside cores that are always busy such a thread gets nowhere.
_NICE: Final = 15

_OWN: Final = threading.local()

# sched_setattr(2), which Python and older C libraries do not have: number of the system call, struct sched_attr.
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")


def lower_priority() -> None:
    """Lower the calling thread's priority, once and for good; threads it starts afterwards inherit it."""
    if is_lowered():
        return
    _OWN.lowered = True
    if sys.platform == "linux":
        thread_id = threading.get_native_id()
        # A sandbox may forbid it; then loading competes with serving. Above 19 the kernel takes 19.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread_id, os.getpriority(os.PRIO_PROCESS, thread_id) + _NICE)


def take_short_turns() -> None:
    """Have the calling thread get a core at once when it wakes, from threads that compute: for one that does little.

    It asks for no more of the cores, only for shorter turns, which come sooner. Answers waited for a core while the
    next batch ran on all of them: of a model of 1 ms, 1 % waited for over 1.2 to 2 ms, and then for 0.2 to 0.6 ms
    (2026-11-26). Does nothing before Linux 6.12, or where the operator has chosen another policy.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    turn_ns = round(SHORT_TURN_S * 1e9)
    wish = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, turn_ns, 0, 0)
    # A sandbox may forbid it; the answer says so, and then nothing has changed.
    ctypes.CDLL(None).syscall(number, 0, wish, 0)


def is_lowered() -> bool:
    """Whether the calling thread lowered its priority itself."""
    return getattr(_OWN, "lowered", False)


def normal_priority() -> ThreadPoolExecutor:
    """A thread to start runners from: it has the priority of the thread that calls this, and so have they."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
    executor.submit(int).result()
    return executor
