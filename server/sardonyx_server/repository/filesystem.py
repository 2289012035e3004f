"""Looks at files and folders without trusting them: what something is, and a fingerprint of all that lies in a folder.

Follows links, never in circles. Reads no contents. Knows nothing of models.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = [
    "Entry",
    "file_type",
    "fingerprint",
    "folder_problem",
    "is_folder",
    "is_hidden",
    "list_names",
    "os_problem",
    "stat_problem",
    "walk_folder",
]

# Bounds for folders nobody meant as a model: a home folder, a link to the root. Models have a few files, and in the one
# odd form a file for each weight.
_MAX_DEPTH: Final = 4
_MAX_ENTRIES: Final = 5_000

_FILE_TYPES: Final = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in a folder.

    Attributes:
        parts: Names on the way to it from the folder.
        facts: All that changes when the thing changes: kind, size, mtime_ns, inode.
    """

    parts: tuple[str, ...]
    state: str


def file_type(mode: int) -> str:
    """``file``, ``folder``, ``FIFO``, ``socket`` or ``device``."""
    return next((name for test, name in _FILE_TYPES if test(mode)), "special file")


def os_problem(error: OSError) -> str:
    """What went wrong, as a phrase that follows the name of the file. Says nothing of the path."""
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "is not there"
    return f"cannot be read: {os.strerror(error.errno) if error.errno else 'unknown error'}"


def stat_problem(path: Path) -> str | None:
    """Why a path is no file with something in it, as a phrase that follows its name; None if it is one."""
    try:
        found = path.stat()
    except OSError as error:
        if error.errno == errno.ENOENT and path.is_symlink():
            return "is a link that leads nowhere"
        return os_problem(error)
    if not stat.S_ISREG(found.st_mode):
        return f"is a {file_type(found.st_mode)}, expected a file"
    return None if found.st_size else "is empty"


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False also where that cannot be told."""
    try:
        return path.is_dir()
    except OSError:
        return False


def list_names(folder: Path) -> list[str]:
    """Names of what lies in a folder, in order, hidden things left out.

    Raises:
        OSError: The folder cannot be listed.
    """
    return sorted(each.name for each in folder.iterdir() if not is_hidden(each.name))


def folder_problem(path: Path) -> str | None:
    """Why the contents of a folder cannot be listed, as a phrase that follows its name; None if they can."""
    try:
        with os.scandir(path):
            return None
    except OSError as error:
        if error.errno == errno.ENOENT and path.is_symlink():
            return "is a link that leads nowhere"
        if error.errno == errno.ENOTDIR:
            return "is not a folder"
        return os_problem(error)


def is_hidden(name: str) -> bool:
    """Whether a name is none of ours: hidden (also what editors and rsync write to first) or Python's cache."""
    return name.startswith(".") or name == "__pycache__"


def walk_folder(folder: Path, *, leaves_out: Callable[[str], bool] | None = None) -> list[Entry]:
    """All things in a folder and the folders in it, in the order of their names; hidden ones are left out.

    What vanishes meanwhile counts as absent. Stops after 5,000 things or 4 levels.

    Args:
        folder: Any path.
        leaves_out: Of things in the folder itself: whether one of that name is left out, with all below it.
    """
    found: list[Entry] = []
    _collect(folder, (), frozenset(), found, leaves_out)
    return sorted(found, key=lambda entry: entry.parts)


def _collect(
    folder: Path,
    parts: tuple[str, ...],
    above: frozenset[tuple[int, int]],
    found: list[Entry],
    leaves_out: Callable[[str], bool] | None = None,
) -> None:
    try:
        here = folder.stat()
        names = [name for name in list_names(folder) if leaves_out is None or not leaves_out(name)]
    except OSError as error:
        found.append(Entry(parts=parts, state=f"unreadable {error.errno}"))
        return
    key = (here.st_dev, here.st_ino)
    # A folder that is its own ancestor through a link would never end.
    if key in above or len(parts) >= _MAX_DEPTH:
        return
    for name in names:
        if len(found) >= _MAX_ENTRIES:
            return
        path, below = folder / name, (*parts, name)
        try:
            status = path.stat()
        except OSError as error:
            found.append(Entry(parts=below, state=f"unreadable {error.errno}"))
            continue
        if stat.S_ISDIR(status.st_mode):
            found.append(Entry(parts=below, state="folder"))
            _collect(path, below, above | {key}, found)
        else:
            state = f"{file_type(status.st_mode)} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
            found.append(Entry(parts=below, state=state))


def fingerprint(entries: Iterable[Entry]) -> str:
    """A short text that is equal exactly where the items are equal."""
    digest = hashlib.blake2b(digest_size=16)
    for entry in entries:
        # os.fsencode: names on disk need not be UTF-8. NUL cannot be part of a name.
        digest.update(os.fsencode("/".join(entry.parts)) + b"\0" + entry.state.encode() + b"\0")
    return digest.hexdigest()
