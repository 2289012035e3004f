"""Opens files that may be modified concurrently: follows no unchecked links, and detects changes."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sardonyx_server.errors import LoadFailed
from sardonyx_server.repository.filesystem import file_type
from sardonyx_server.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

__all__ = ["READ_FLAGS", "STILL_BEING_WRITTEN", "open_no_follow", "open_unchanged"]

STILL_BEING_WRITTEN: Final = "STILL_BEING_WRITTEN"
"""``LoadFailed.reason`` if a later attempt may succeed."""

READ_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags for opening files; with O_NONBLOCK, a FIFO that replaced a file does not block."""


@contextlib.contextmanager
def open_unchanged(descriptor: int, file: Path, subject: str) -> Iterator[FileIO]:
    """An open regular file that must not change within the context. Takes ownership of the descriptor.

    Raises:
        LoadFailed: It is not a regular file, or it changed; the latter replaces errors raised within the context.
    """
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        os.close(descriptor)
        raise LoadFailed(f"{subject} is a {file_type(before.st_mode)}, expected a file")
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        try:
            yield opened
        except LoadFailed as error:
            _check_unchanged(before, descriptor, file, subject, error)
            raise
        _check_unchanged(before, descriptor, file, subject, None)


def open_no_follow(root: str, place: str) -> int:
    """Open ``root/place`` one folder at a time, so that a link created after the check is not followed."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    *folders, name = Path(place).parts
    try:
        for each in folders:
            below = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(name, READ_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def _check_unchanged(
    before: os.stat_result, descriptor: int, file: Path, subject: str, cause: LoadFailed | None
) -> None:
    try:
        same = all(_identity(before) == _identity(now) for now in (os.fstat(descriptor), file.stat()))
    except OSError:
        same = False
    if not same:
        raise LoadFailed(
            f"{subject}: {quoted(file.name)} is still being written", reason=STILL_BEING_WRITTEN
        ) from cause


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev
