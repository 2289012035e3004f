"""POSIX shared memory objects of other processes, opened by key, and read and written by system calls.

They are never mapped: if the owner truncates a mapped file, the next access kills this process with SIGBUS. A short
read, in contrast, is an error of one request.

A key can select only a regular object of the server's own user: no path, no link, no special file, no other user's
object.

An object may have an owner: a process that held its lock (flock(2)) when it was opened here, and holds it as long as it
uses the object. The kernel releases the lock when that process ends, so that its end can be detected.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import weakref
from pathlib import Path
from typing import Final

from sardonyx_server.errors import InvalidRequest, ServerError, TryLater, Unsupported

__all__ = ["PosixMemory", "open_memory", "usable"]

_FOLDER: Final = Path("/dev/shm")  # noqa: S108  # where Linux keeps them (shm_overview(7))
_MAX_KEY_BYTES: Final = 255
# Names in the same folder used by others: Triton's Python backend, this server, POSIX semaphores (sem_overview(7)), the
# CUDA driver.
_RESERVED_PREFIXES: Final = ("triton_python_backend_shm_region_", "sardonyx_server_", "sem.", "cuda.shm.")
# Neither block on a FIFO nor follow a link that someone put there.
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})


def usable() -> bool:
    """Whether this machine has POSIX shared memory at Linux's path."""
    return _FOLDER.is_dir()


def open_memory(what: str, key: str, offset: int, byte_size: int, *, folder: Path = _FOLDER) -> PosixMemory:
    """Open a range of an object.

    Args:
        what: Name of the region in messages.
        key: Name of the object as for ``shm_open``: one name with or without a leading slash.
        offset: Start of the range.
        byte_size: Length of the range.
        folder: Where the objects are.

    Raises:
        InvalidRequest: The key is invalid or reserved, or names no object that may be opened; or the object is smaller.
        TryLater: The process has no file descriptor left.
        Unsupported: This machine has no POSIX shared memory.
    """
    name = _object_name(what, key)
    try:
        there = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise _no_descriptor(what) from error
        raise Unsupported("this machine has no POSIX shared memory; send tensors in the message") from error
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=there)
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise _no_descriptor(what) from error
        raise _not_ours(what) from error
    finally:
        os.close(there)
    memory = PosixMemory(what, descriptor, offset)
    status = os.fstat(descriptor)
    # One message for all cases, so that a caller cannot find out what else is there.
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise _not_ours(what)
    if offset + byte_size > status.st_size:
        raise InvalidRequest(
            f"{what}: {byte_size} bytes at offset {offset} go beyond the end of the object, which has "
            f"{status.st_size} bytes",
            field="byte_size",
        )
    return memory


class PosixMemory:
    """A range of an open object.

    Args:
        what: Name of the region in messages.
        descriptor: Of the object, readable and writable; closed when this is garbage collected.
        start: Start of the range in the object.

    Attributes:
        has_owner: Whether a process held the object's lock when it was opened.
    """

    __slots__ = ("__weakref__", "_descriptor", "_start", "_what", "has_owner")

    def __init__(self, what: str, descriptor: int, start: int) -> None:
        self._what = what
        self._descriptor = descriptor
        self._start = start
        weakref.finalize(self, os.close, descriptor)
        self.has_owner = _is_locked(descriptor)

    def is_abandoned(self) -> bool:
        """Whether it had an owner that has ended."""
        return self.has_owner and not _is_locked(self._descriptor)

    def read(self, offset: int, target: memoryview) -> None:
        """Fill ``target`` with the bytes from ``offset``.

        Raises:
            InvalidRequest: The object has become smaller.
        """
        start = self._start + offset
        end = start + len(target)
        while target:
            # One call reads at most 2 GiB (read(2)), and nothing beyond the end of the object.
            done = os.preadv(self._descriptor, (target,), start)
            if not done:
                raise self._smaller(os.fstat(self._descriptor).st_size, end)
            target = target[done:]
            start += done

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes. Writes nothing if the object has been truncated, since that would extend it again.

        Raises:
            InvalidRequest: The object has been truncated.
            TryLater: The machine is out of memory.
        """
        start = self._start + offset
        rest = memoryview(data)
        self._require(start + len(rest))
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, start)
                rest = rest[written:]
                start += written
        except OSError as error:
            # Pages of such an object are allocated when they are first written.
            raise TryLater(
                f"{self._what} could not be written: {error.strerror}; retry later", reason="NO_MEMORY"
            ) from error

    def _require(self, end: int) -> None:
        size = os.fstat(self._descriptor).st_size
        if size < end:
            raise self._smaller(size, end)

    def _smaller(self, size: int, end: int) -> InvalidRequest:
        return InvalidRequest(
            f"{self._what} has become smaller since it was registered: its object has {size} bytes, and the request "
            f"needs {end}; unregister it and register it again"
        )


def _is_locked(descriptor: int) -> bool:
    """Whether another process holds an exclusive lock. Tries a shared lock, since several servers may check at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: its objects have no owner
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _object_name(what: str, key: str) -> bytes:
    # POSIX: "for portable use, a shared memory object should be identified by a name of the form /somename".
    name = key.removeprefix("/").encode()
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or len(name) > _MAX_KEY_BYTES:
        raise InvalidRequest(
            f"key of {what}: expected one name of 1 to {_MAX_KEY_BYTES} bytes, such as '/my_region', without "
            "a further slash",
            field="key",
        )
    for prefix in _RESERVED_PREFIXES:
        if name.startswith(prefix.encode()):
            raise InvalidRequest(
                f"key of {what}: names that begin with '{prefix}' are reserved; take another", field="key"
            )
    return name


def _not_ours(what: str) -> ServerError:
    return InvalidRequest(
        f"key of {what} names no shared memory object that this server's user owns; create it first, as that user",
        field="key",
    )


def _no_descriptor(what: str) -> ServerError:
    return TryLater(
        f"{what}: the server has no file descriptor left; unregister regions, or retry later", reason="NO_DESCRIPTORS"
    )
