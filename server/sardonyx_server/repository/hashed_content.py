"""Copies the bytes of a model file into memory and hashes them in the same pass; large files become a memfd.

The copy is made in short steps and touches no page twice, so that requests served meanwhile are hardly delayed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from io import FileIO

__all__ = ["CHUNK_BYTES", "HashedContent", "concatenate", "copy_file"]

_KIB: Final = 2**10

CHUNK_BYTES: Final = 256 * _KIB
"""Larger content becomes a file in memory (memfd_create) if the system has such files: onnxruntime holds the GIL while
it copies bytes, 49 ms for 105 MB, but not while it reads a file (2026-11-26).

Files are copied in chunks of this size through one buffer. A system call is not preempted (Linux 6.18 without full
preemption), and reading into fresh memory takes a page fault for each 4 KiB: while 102 MB were read in one call, 44 in
1,000 calls to another model took over 1 ms, and 10 in 1,000 while they were hashed.
"""

_DESCRIPTORS: Final = Path("/proc/self/fd")


class HashedContent:
    """An immutable copy of a file's bytes.

    Args:
        digest: See the attribute.
        data: The bytes, or the descriptor of a file in memory, whose ownership is taken.
        size_bytes: See the attribute.

    Attributes:
        digest: SHA-256.
        size_bytes: Number of bytes.
    """

    __slots__ = ("_data", "digest", "size_bytes")

    def __init__(self, digest: bytes, data: bytes | int, size_bytes: int) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._data: bytes | int | None = data

    @property
    def data(self) -> bytes | None:
        """The bytes; None if they are in a file, or closed."""
        return None if isinstance(self._data, int) else self._data

    @property
    def path(self) -> Path | None:
        """Path of the file in memory, valid only in this process; None if there is none, or closed."""
        return _DESCRIPTORS / str(self._data) if isinstance(self._data, int) else None

    @contextmanager
    def view(self) -> Iterator[bytes | memoryview]:
        """All bytes, read-only, valid within the context. Requires: not closed."""
        if not isinstance(self._data, int) or not self.size_bytes:
            yield self.data or b""
            return
        pages = mmap.mmap(self._data, self.size_bytes, access=mmap.ACCESS_READ)
        try:
            with memoryview(pages) as view:
                yield view
        finally:
            # A view that is still referenced, for example by a traceback, keeps the mapping open until it is freed.
            with suppress(BufferError):
                pages.close()

    def close(self) -> None:
        """Free the bytes. Idempotent."""
        data, self._data = self._data, None
        if isinstance(data, int):
            os.close(data)


def copy_file(opened: FileIO, size: int) -> HashedContent:
    """Copy up to ``size`` bytes of a file. Growth in the meantime is detected by the caller. Blocks.

    Returns:
        Owned by the caller, who closes it.
    """
    content = _as_memory_file(_read(opened, size), size)
    if content is not None:
        return content
    opened.seek(0)
    return _as_bytes(opened.read(size))


def concatenate(parts: Sequence[bytes | memoryview]) -> HashedContent:
    """Copy the concatenation of the parts. Blocks; keeps no reference to them.

    Returns:
        Owned by the caller, who closes it.
    """
    return _as_memory_file(_chunks(parts), sum(map(len, parts))) or _as_bytes(b"".join(parts))


def _as_bytes(data: bytes) -> HashedContent:
    return HashedContent(hashlib.sha256(data).digest(), data, len(data))


def _as_memory_file(chunks: Iterable[bytes | memoryview], size: int) -> HashedContent | None:
    """A file in memory with these chunks; None if it would be small, or cannot be created."""
    descriptor = _memory_file() if size > CHUNK_BYTES else None
    if descriptor is None:
        return None
    try:
        return _copy_to_memory_file(chunks, descriptor)
    except OSError:
        # A file of this size may be forbidden while memory is available. A read error will recur in the retry.
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise


def _memory_file() -> int | None:
    """Descriptor of a new file in memory; None if the system has none, or a sandbox forbids it."""
    if not hasattr(os, "memfd_create") or not _DESCRIPTORS.is_dir():
        return None
    with suppress(OSError):
        return os.memfd_create("model", os.MFD_CLOEXEC)
    return None


def _copy_to_memory_file(chunks: Iterable[bytes | memoryview], descriptor: int) -> HashedContent:
    """Write and hash the chunks; both release the GIL, as reading does."""
    whole, done = hashlib.sha256(), 0
    for chunk in chunks:
        whole.update(chunk)
        done += len(chunk)
        left = memoryview(chunk)
        while left:
            left = left[os.write(descriptor, left) :]
    return HashedContent(whole.digest(), descriptor, done)


def _read(opened: FileIO, size: int) -> Iterator[memoryview]:
    """Read up to ``size`` bytes in chunks. Each chunk is valid until the next."""
    done = 0
    with memoryview(bytearray(CHUNK_BYTES)) as buffer:
        while done < size and (count := opened.readinto(buffer[: size - done])):
            done += count
            yield buffer[:count]


def _chunks(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    return (part[start : start + CHUNK_BYTES] for part in parts for start in range(0, len(part), CHUNK_BYTES))
