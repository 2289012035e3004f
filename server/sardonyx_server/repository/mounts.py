"""Detects network file systems, whose changes the kernel may not report, from /proc/self/mountinfo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["is_network_filesystem"]

_NETWORK_FILESYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"smb3", "smbfs", "vboxsf", "virtiofs"}
)
_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPES: Final = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def is_network_filesystem(path: Path, mounts: str | None = None) -> bool:
    """Whether a path is on a file system whose changes the kernel may not report.

    Args:
        path: Any path.
        mounts: Text of Linux's ``/proc/self/mountinfo``; None = read it. False if there is none.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return False
    place = Path(os.path.realpath(path))
    best, kind = -1, ""
    for line in mounts.splitlines():
        # 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw (proc(5))
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:  # noqa: PLR2004 -- the fifth is the mount point
            continue
        mount = Path(_unescaped(fields[4]))
        # A later mount hides an earlier one at the same mount point.
        if place.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), right.split(" ")[0]
    return kind.partition(".")[0] in _NETWORK_FILESYSTEMS


def _unescaped(text: str) -> str:
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text
