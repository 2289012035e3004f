"""Memory of this process that a server on the same machine can open by name. Speaks to no server.

What must not happen is that a client that is killed leaves memory behind. So an object gets its name, under /dev/shm,
only when it is complete and locked (flock(2)), and keeps it only until the server has opened it. From then on it lives
as long as somebody has it open: the kernel lets go for this process when it ends in whatever way, and the server when
it sees that the lock is gone. Names that a killed client could not remove are removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SharedRegion", "remove_leftovers"]

_FOLDER: Final = Path("/dev/shm")  # noqa: S108  # where Linux keeps POSIX shared memory objects (shm_overview(7))
_PREFIX: Final = "sardonyx_client_"
# Nobody guesses it: a server that opens an object of this name has the same /dev/shm as this process.
_NAME_BYTES: Final = 16
# Less is copied without letting other threads run: it takes some 50 us, and to get the interpreter back where there are
# others takes about as long.
_COPIED_AT_ONCE_BYTES: Final = 1024 * 1024


class SharedRegion:
    """One object, mapped. Let go of by :meth:`release`; its memory is freed when the last view of it goes too.

    Args:
        size_bytes: Of the object. The memory is there from the start: a write to pages that the system cannot give
            would kill this process (SIGBUS).
        folder: Where the objects are.

    Raises:
        OSError: This system has no such memory, or none left.

    Attributes:
        name: Of the object, and of the region at the server.
        size_bytes: Of the object.
    """

    __slots__ = ("_bytes", "_descriptor", "_folder", "_process", "_shown", "name", "size_bytes")

    def __init__(self, size_bytes: int, *, folder: Path = _FOLDER) -> None:
        self.name = f"{_PREFIX}{os.urandom(_NAME_BYTES).hex()}"
        self.size_bytes = size_bytes
        self._folder = folder
        self._process = os.getpid()
        self._descriptor: int | None = None
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.posix_fallocate(descriptor, 0, size_bytes)
            self._bytes = np.frombuffer(mmap.mmap(descriptor, size_bytes), np.uint8)
            self._shown = self._bytes.data.toreadonly()
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def __del__(self) -> None:
        # Of a client that nobody closed: a descriptor left open keeps the memory, here and at the server.
        self.release()

    def publish(self) -> None:
        """Give it its name. Requires: not released."""
        there = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # With descriptors of folders Python takes linkat(2), which follows the link that stands for the object.
            os.link(f"/proc/self/fd/{self._descriptor}", self.name, src_dir_fd=there, dst_dir_fd=there)
        finally:
            os.close(there)

    def hide(self) -> None:
        """Take the name away: nobody else opens it from now on. Can be repeated."""
        (self._folder / self.name).unlink(missing_ok=True)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes there. Requires: they fit."""
        target = self._bytes[offset : offset + len(data)]
        if len(data) <= _COPIED_AT_ONCE_BYTES:
            target.data[:] = data
        else:
            # By numpy, which lets other threads run meanwhile.
            target[:] = np.frombuffer(data, np.uint8)

    def view(self) -> NDArray[np.uint8]:
        """All bytes, read-only for good. Every view of it keeps it alive."""
        return np.frombuffer(self._shown, np.uint8)

    def release(self) -> None:
        """Say that this process is done with it: the server forgets it soon. Can be repeated; views stay good."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # A forked child has the same lock as its parent, who still uses the object.
        if os.getpid() == self._process:
            with contextlib.suppress(OSError):
                self.hide()
            # The mapping has a descriptor of its own for the same open object: closing alone would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def remove_leftovers(folder: Path = _FOLDER) -> None:
    """Remove the names of objects whose clients were killed before they could. Never raises."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)
