"""Number of CPU cores available to this process: the minimum of its cgroup quota and its CPU affinity."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

__all__ = ["ReadText", "available_cores", "cgroup_quota", "read_text"]

ReadText: TypeAlias = Callable[[str], "str | None"]
"""Path -> text of the file; None if it cannot be read."""

_ROOT: Final = "/sys/fs/cgroup"
_V1_CONTROLLERS: Final = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def available_cores(read: ReadText | None = None, affinity: int | None = None) -> int:
    """Whole cores, at least 1. A quota of 1.5 counts as 1: a second thread would be throttled in each period.

    Args:
        read: Reads a file; None = from this machine.
        affinity: Number of cores in the CPU affinity mask; None = of this process.
    """
    quota = cgroup_quota(read or read_text)
    cores = _affinity() if affinity is None else affinity
    return max(1, cores if quota is None else min(cores, int(quota)))


def cgroup_quota(read: ReadText) -> float | None:
    """CPU quota, in cores, of this process's cgroup and its ancestors; None = no limit."""
    quotas = []
    for line in (read("/proc/self/cgroup") or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            quotas += [_v2_quota(read, folder) for folder in _folders(_ROOT, path)]
        elif "cpu" in controllers.split(","):
            quotas += [
                _v1_quota(read, folder) for name in _V1_CONTROLLERS for folder in _folders(f"{_ROOT}/{name}", path)
            ]
    return min((quota for quota in quotas if quota is not None), default=None)


def read_text(path: str) -> str | None:
    """The text of a file; None if it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _folders(root: str, path: str) -> list[str]:
    """Folders of a cgroup and its ancestors. In a container the path may not exist; the root is then its own cgroup."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    return ["/".join([root, *parts[:length]]) for length in range(len(parts), -1, -1)]


def _v2_quota(read: ReadText, folder: str) -> float | None:
    quota, _, period = (read(f"{folder}/cpu.max") or "").strip().partition(" ")
    return _ratio(quota, period or "100000")


def _v1_quota(read: ReadText, folder: str) -> float | None:
    return _ratio(read(f"{folder}/cpu.cfs_quota_us") or "", read(f"{folder}/cpu.cfs_period_us") or "")


def _ratio(quota: str, period: str) -> float | None:
    """Quota / period; None for no limit ("max" in v2, -1 in v1) and for invalid text."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
