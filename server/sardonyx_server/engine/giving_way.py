"""Has the kernel ask, again and again, whether somebody else wants the core of a thread of low priority. Linux only.

The lowest priority is not enough. A thread of normal priority that wakes takes the core at once; but one that was at
work and had to make room for a third counts as having had more than its share, beside one that is due next to nothing.
Linux (6.6 and later) then picks the latter, and looks up at its next tick, up to 4 ms later: with another core idle,
requests wait for a model that is being loaded. A thread that yields is looked at anew.
"""

from __future__ import annotations

import ctypes
import signal
import struct
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sardonyx_server.engine.priority import is_lowered

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["INTERVAL_S", "giving_way"]

INTERVAL_S: Final = 1e-3
"""Between two looks. Each takes 36 us of the thread that gives way (a virtual machine, 2026-11-26), so 4 % of its time;
every half millisecond, which was no better for those who are served, 7 %."""

_NS_PER_S: Final = 1_000_000_000
_CLOCK_MONOTONIC: Final = 1
# struct sigevent, with the notification that goes to one thread: value, number of the signal, SIGEV_THREAD_ID, thread.
_SIGEVENT: Final = struct.Struct("=Qiii44x")
_SIGEV_THREAD_ID: Final = 4
# struct itimerspec: interval and first time, each in seconds and nanoseconds.
_ITIMERSPEC: Final = struct.Struct("=qqqq")
# More than any C library's struct sigaction, whose first field is the handler.
_SIGACTION_BYTES: Final = 512


@contextmanager
def giving_way() -> Iterator[None]:
    """Have the calling thread yield every millisecond, if it has lowered its priority; else this does nothing.

    The kernel interrupts it by a signal, SIGRTMAX - 1, whose handler is the system call ``sched_yield``: no Python
    runs, and nothing in the thread is cut short but waits, which their callers begin again. Where the process uses that
    signal for something else it is left alone, and nothing happens.
    """
    timer = _started_timer() if sys.platform == "linux" and is_lowered() else None
    try:
        yield
    finally:
        if timer is not None:
            _library().timer_delete(timer)


def _library() -> Any:
    return ctypes.CDLL(None)


def _started_timer() -> ctypes.c_void_p | None:
    """None where there is no such timer to have."""
    library = _library()
    number = signal.SIGRTMAX - 1
    # C libraries before glibc 2.34 have timers in a library of their own.
    if struct.calcsize("P") != struct.calcsize("q") or not hasattr(library, "timer_create"):
        return None
    if not _handled_by_yield(library, number):
        return None
    event = _SIGEVENT.pack(0, number, _SIGEV_THREAD_ID, threading.get_native_id())
    timer = ctypes.c_void_p()
    if library.timer_create(_CLOCK_MONOTONIC, event, ctypes.byref(timer)):
        return None
    interval_ns = round(INTERVAL_S * _NS_PER_S)
    library.timer_settime(timer, 0, _ITIMERSPEC.pack(0, interval_ns, 0, interval_ns), None)
    return timer


def _handled_by_yield(library: Any, number: int) -> bool:
    """See to it that the signal makes its thread yield; False where somebody else handles it."""
    sched_yield = ctypes.cast(library.sched_yield, ctypes.c_void_p)
    now = ctypes.create_string_buffer(_SIGACTION_BYTES)
    if library.sigaction(number, None, now):
        return False
    handler = ctypes.c_void_p.from_buffer(now).value
    if handler is None:
        # It stays for good: a signal that comes after the timer's end must find it.
        set_handler = library.signal
        set_handler.restype = ctypes.c_void_p
        return set_handler(ctypes.c_int(number), sched_yield) is None
    return handler == sched_yield.value
