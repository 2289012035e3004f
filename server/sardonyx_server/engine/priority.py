"""Priority of threads: loading a model while others are served takes only the time that serving leaves. Linux only."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

__all__ = ["lower_priority", "normal_priority"]

# With nice 10 the kernel gives a thread a tenth of the share of one at nice 0, and all that nobody else wants.
_NICE: Final = 10


def lower_priority() -> None:
    """Lower the calling thread's priority, for good; threads it starts afterwards inherit it."""
    if sys.platform == "linux":
        # A sandbox may forbid it; then loading competes with serving.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def normal_priority() -> ThreadPoolExecutor:
    """A thread to start runners from: it has the priority of the thread that calls this, and so have they."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
    executor.submit(int).result()
    return executor
