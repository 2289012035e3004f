"""Safe access to untrusted files and folders: file types, folder listings and fingerprints.

Follows symbolic links but never in circles. Reads no file contents.
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

# Limits for folders that are no models, such as a home folder or a link to the root. Models have few files, or at most
# one per weight.
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
    """One entry of a folder tree.

    Attributes:
        parts: Path relative to the folder.
        state: Changes whenever the entry changes: file type, size, mtime_ns, inode.
    """

    parts: tuple[str, ...]
    state: str


def file_type(mode: int) -> str:
    """``file``, ``folder``, ``FIFO``, ``socket`` or ``device``."""
    return next((name for test, name in _FILE_TYPES if test(mode)), "special file")


def os_problem(error: OSError) -> str:
    """An error as a phrase that follows the name of the file, without its path."""
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "is not there"
    return f"cannot be read: {os.strerror(error.errno) if error.errno else 'unknown error'}"


def stat_problem(path: Path) -> str | None:
    """Why a path is not a non-empty file, as a phrase that follows its name; None if it is one."""
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
    """Whether a path leads to a folder; False if that is unknown."""
    try:
        return path.is_dir()
    except OSError:
        return False


def list_names(folder: Path) -> list[str]:
    """Sorted names of the entries of a folder, without hidden ones.

    Raises:
        OSError: The folder cannot be listed.
    """
    return sorted(each.name for each in folder.iterdir() if not is_hidden(each.name))


def folder_problem(path: Path) -> str | None:
    """Why a folder cannot be listed, as a phrase that follows its name; None if it can."""
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
    """Whether to ignore a name: hidden files, such as temporary files of editors and rsync, and Python's cache."""
    return name.startswith(".") or name == "__pycache__"


def walk_folder(folder: Path, *, leaves_out: Callable[[str], bool] | None = None) -> list[Entry]:
    """All entries of a folder tree, sorted by path, without hidden ones.

    Entries that vanish meanwhile count as absent. Stops after 5,000 entries or 4 levels.

    Args:
        folder: Any path.
        leaves_out: Whether to skip the top-level entry of this name, with all below it.
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
    # A link to an ancestor would recurse forever.
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
    """A digest of the entries, equal for equal entries."""
    digest = hashlib.blake2b(digest_size=16)
    for entry in entries:
        # os.fsencode, because names need not be UTF-8. A name cannot contain NUL.
        digest.update(os.fsencode("/".join(entry.parts)) + b"\0" + entry.state.encode() + b"\0")
    return digest.hexdigest()
