"""POSIX shared memory objects of other processes, opened by their key and read and written by system calls.

Never mapped: what maps a file that its owner then makes smaller is killed by SIGBUS at the next access. A read that
finds less than it expects is an error of one request. Knows no names of regions but for messages.

A key selects nothing but an object of this very user: no path, no link, no other kind of file, no other user's.

An object may have an owner: a process that held its lock (flock(2)) when it was opened here, and holds it as long as it
uses the object. The kernel lets go of the lock when that process ends in whatever way, so its end can be seen.
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
# What shm_open and other interfaces of this machine keep in the same folder for their own use: Triton's Python backend,
# this server, POSIX semaphores (sem_overview(7)), the CUDA driver.
_RESERVED_PREFIXES: Final = ("triton_python_backend_shm_region_", "sardonyx_server_", "sem.", "cuda.shm.")
# The owner may put a FIFO or a link there: neither is waited for nor followed.
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})


def usable() -> bool:
    """Whether this machine has POSIX shared memory where Linux has it."""
    return _FOLDER.is_dir()


def open_memory(what: str, key: str, offset: int, byte_size: int, *, folder: Path = _FOLDER) -> PosixMemory:
    """Open a part of an object.

    Args:
        what: The region, for messages.
        key: Name of the object as for ``shm_open``: one name, with or without a slash before it.
        offset: Where the part begins.
        byte_size: How long it is.
        folder: Where the objects are.

    Raises:
        InvalidRequest: The key is no name, is reserved, or names nothing that may be opened; or the object is smaller.
        TryLater: The process has no descriptor left.
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
    # One text for all of these: a caller does not learn what else lies there.
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
    """A part of an open object.

    Args:
        what: The region, for messages.
        descriptor: Of the object, readable and writable; closed when the last reference to this goes.
        start: Where the part begins in the object.

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
        """Whether it had an owner, and has none any more."""
        return self.has_owner and not _is_locked(self._descriptor)

    def read(self, offset: int, target: memoryview) -> None:
        """Fill ``target`` with the bytes from ``offset`` on.

        Raises:
            InvalidRequest: The object has become smaller.
        """
        start = self._start + offset
        end = start + len(target)
        while target:
            # One call reads 2 GiB at most (read(2)), and none beyond the end of the object.
            done = os.preadv(self._descriptor, (target,), start)
            if not done:
                raise self._smaller(os.fstat(self._descriptor).st_size, end)
            target = target[done:]
            start += done

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes there. Writes nothing where the object has become smaller: that would make it larger again.

        Raises:
            InvalidRequest: The object has become smaller.
            TryLater: The machine has no memory left for it.
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
            # Pages of such an object come into being when they are written.
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
    """Whether another holds the lock of the object for itself. Shared: several servers may look at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: its objects have no owners
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
