"""One region of POSIX shared memory that a server on the same host can open by name. No communication.

A client that is killed must not leave memory behind. So a shared memory object gets a name under /dev/shm only when it
is complete and locked (flock(2)), and keeps the name only until the server has opened it. From then on it lives as long
as a process has it open: the kernel releases it when this process ends in any way, and the server closes it when it
sees that the lock is gone. Names that a killed client could not remove are removed by the next client.
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
# Unguessable: a server that can open an object of this name shares /dev/shm with this process.
_NAME_BYTES: Final = 16
# Smaller copies keep the GIL: they take up to some 50 us, about as long as it takes to get the GIL back when other
# threads want it.
_GIL_COPY_LIMIT_BYTES: Final = 1024 * 1024


class SharedRegion:
    """A mapped shared memory object. Its memory is freed after :meth:`close`, when the last view is gone too.

    Args:
        size_bytes: Size. The memory is allocated at once, because a write to a page that the system cannot provide
            would kill this process (SIGBUS).
        folder: Where the objects are.

    Raises:
        OSError: The system does not support this, or is out of memory.

    Attributes:
        name: Name of the object, and of the region on the server.
        size_bytes: Size.
    """

    __slots__ = ("_bytes", "_descriptor", "_folder", "_process", "_readonly", "name", "size_bytes")

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
            self._readonly = self._bytes.data.toreadonly()
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def __del__(self) -> None:
        # The client was not closed: an open descriptor would keep the memory, here and on the server.
        self.close()

    def link(self) -> None:
        """Link the object under its name. Requires: not closed."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # With directory descriptors Python calls linkat(2), which follows the /proc link to the object.
            os.link(f"/proc/self/fd/{self._descriptor}", self.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)

    def unlink(self) -> None:
        """Remove the name, so that nobody else can open the object. May be called repeatedly."""
        (self._folder / self.name).unlink(missing_ok=True)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes. Requires: they fit."""
        target = self._bytes[offset : offset + len(data)]
        if len(data) <= _GIL_COPY_LIMIT_BYTES:
            target.data[:] = data
        else:
            # numpy releases the GIL while it copies.
            target[:] = np.frombuffer(data, np.uint8)

    def view(self) -> NDArray[np.uint8]:
        """A read-only view of the whole region. Views of it keep it alive."""
        return np.frombuffer(self._readonly, np.uint8)

    def close(self) -> None:
        """Release the lock, so that the server closes the region soon. May be called repeatedly; views stay valid."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # A forked child shares the lock with its parent, which still uses the object.
        if os.getpid() == self._process:
            with contextlib.suppress(OSError):
                self.unlink()
            # The mapping holds its own descriptor of the same open file, so closing this one would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def remove_leftovers(folder: Path = _FOLDER) -> None:
    """Remove names of objects whose client was killed before it could do so. Never raises."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)
