"""Priority of threads: loading a model while others are served takes only the time that serving leaves. Linux only."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

__all__ = ["is_lowered", "lower_priority", "normal_priority"]

# Where SCHED_IDLE is not allowed. It is far worse: a thread at nice 10 still gets a tenth of what one at nice 0 gets,
# in turns of some milliseconds, and p99 beside a model that was being measured was 169 ms in place of 4.6 (2026-11-26).
_NICE: Final = 10

_OWN: Final = threading.local()


def lower_priority() -> None:
    """Lower the calling thread's priority, for good; threads it starts afterwards inherit it."""
    _OWN.lowered = True
    if sys.platform == "linux":
        # A sandbox may forbid either; then loading competes with serving.
        try:
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        except OSError:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def is_lowered() -> bool:
    """Whether the calling thread lowered its priority itself."""
    return getattr(_OWN, "lowered", False)


def normal_priority() -> ThreadPoolExecutor:
    """A thread to start runners from: it has the priority of the thread that calls this, and so have they."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
    executor.submit(int).result()
    return executor
