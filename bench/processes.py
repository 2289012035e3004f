"""CPU time and memory of processes, read from Linux's /proc. Starts none."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["cpu_s", "forget_peak", "idle_percent", "memory_bytes", "tree"]

_PROC: Final = Path("/proc")
_KIB: Final = 1024
# What Linux makes clock_getcpuclockid(3) of: the process's number, negated, above three bits; 2 = all time it has run.
_CLOCK_BITS: Final = 3
_CLOCK_SCHED: Final = 2
# Writing this to clear_refs makes the peak of resident memory begin anew (proc(5)).
_RESET_PEAK: Final = "5"


def tree(pid: int) -> list[int]:
    """Process ids of a process and its living descendants."""
    children = defaultdict(list)
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                # "pid (name) state parent ..."; a name may hold brackets and blanks.
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children[parent].append(int(folder.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children[one]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, ended threads included; 0 if the process has ended."""
    try:
        return time.clock_gettime((~pid << _CLOCK_BITS) | _CLOCK_SCHED)
    except OSError:
        return 0.0


def idle_percent(pid: int, seconds: float) -> float:
    """CPU time of a process over some time, as a share of a core. Blocks."""
    before_s, began_s = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_s(pid) - before_s) / (time.monotonic() - began_s)


def memory_bytes(pid: int, key: str = "VmRSS", *, file: str = "status") -> int:
    """A line such as ``VmRSS:  123456 kB`` of a file in /proc, where kB are KiB; 0 if the process has ended."""
    with suppress(OSError):
        for line in (_PROC / str(pid) / file).read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * _KIB
    return 0


def forget_peak(pid: int) -> None:
    """Reset VmHWM, the peak resident memory, to the current resident memory."""
    with suppress(OSError):
        (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK)
