"""CPU, memory and thread count from /proc, for metrics. On systems other than Linux all values are unknown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CpuMeter", "Memory", "count_threads", "read_memory"]

_KIB: Final = 1024
# Columns of the "cpu" line of /proc/stat: user nice system idle iowait irq softirq steal. Guest time, which follows,
# is included in user.
_IDLE: Final = slice(3, 5)
_ALL: Final = slice(0, 8)
# Two scrapes in quick succession are too close to compute a rate.
_MIN_INTERVAL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The machine's memory.

    Attributes:
        total_bytes: All of it.
        used_bytes: Memory that is not available to a new program without swapping.
    """

    total_bytes: int
    used_bytes: int


class CpuMeter:
    """CPU utilization of the machine since the last reading. Not thread-safe.

    Args:
        proc: Where procfs is mounted.
        clock: ``time.monotonic``.
    """

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._file = proc / "stat"
        self._clock = clock
        self._asked_s = clock()
        self._before = self._read()
        self._utilization: float | None = None

    def utilization(self) -> float | None:
        """From 0 to 1, averaged over all cores; None if unknown."""
        now_s = self._clock()
        if self._utilization is None or now_s - self._asked_s >= _MIN_INTERVAL_S:
            now = self._read()
            if now is None or self._before is None:
                return None
            busy, total = now[0] - self._before[0], now[1] - self._before[1]
            # The iowait counter of the kernel may decrease.
            self._utilization = min(1.0, max(0.0, busy / total)) if total > 0 else 0.0
            self._asked_s, self._before = now_s, now
        return self._utilization

    def _read(self) -> tuple[int, int] | None:
        """(busy, total) ticks of all cores since boot."""
        try:
            ticks = [int(word) for word in self._file.read_text().partition("\n")[0].split()[1:]]
        except (OSError, ValueError):
            return None
        if len(ticks) < _ALL.stop:
            return None
        total = sum(ticks[_ALL])
        return total - sum(ticks[_IDLE]), total


def read_memory(proc: Path = Path("/proc")) -> Memory | None:
    """The machine's memory now; None if unknown."""
    fields = _fields(proc / "meminfo")
    total, available = fields.get("MemTotal"), fields.get("MemAvailable")
    if total is None or available is None:
        return None
    return Memory(total_bytes=total * _KIB, used_bytes=(total - available) * _KIB)


def count_threads(proc: Path = Path("/proc")) -> int | None:
    """Threads of this process, including those of native libraries; None if unknown."""
    return _fields(proc / "self" / "status").get("Threads")


def _fields(file: Path) -> dict[str, int]:
    """Parse lines such as ``MemTotal:  123 kB`` that have a number, without the unit."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    pairs = ((name, value.split()) for name, _, value in (line.partition(":") for line in lines))
    return {name: int(words[0]) for name, words in pairs if words and words[0].isdecimal()}
