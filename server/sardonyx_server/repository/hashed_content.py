"""The bytes of a model's file, copied once: hashed on the way, and a large one kept as a file in memory.

No step of it is long, and no page is made that is not kept, so that whoever serves meanwhile hardly notices. Knows no
models.
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
"""What is larger becomes a file in memory, where the system has such files: onnxruntime copies bytes while it holds the
interpreter's lock, 49 ms for 105 MB, and reads files without it (2026-11-26).

It is copied in such chunks, through one buffer. A step in the kernel keeps its core, whoever waits for it (Linux 6.18
without full preemption), and into fresh memory it takes a page fault for each 4 KiB besides: of the calls to another
model that came while 102 MB were read that way, 44 in 1,000 took over 1 ms, and 10 while they were hashed.
"""

_DESCRIPTORS: Final = Path("/proc/self/fd")


class HashedContent:
    """What was taken of a file; nobody can change it any more.

    Args:
        digest: As the attribute.
        data: The bytes, or a descriptor of the file in memory, which becomes its own.
        size_bytes: As the attribute.

    Attributes:
        digest: SHA-256.
        size_bytes: How many there are.
    """

    __slots__ = ("_data", "digest", "size_bytes")

    def __init__(self, digest: bytes, data: bytes | int, size_bytes: int) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._data: bytes | int | None = data

    @property
    def data(self) -> bytes | None:
        """The bytes; None where they are a file, or closed."""
        return None if isinstance(self._data, int) else self._data

    @property
    def path(self) -> Path | None:
        """Where this process, and nobody else, finds them as a file; None where they are none, or closed."""
        return _DESCRIPTORS / str(self._data) if isinstance(self._data, int) else None

    @contextmanager
    def view(self) -> Iterator[bytes | memoryview]:
        """All of them, read-only, as long as the context lasts. Requires: not closed."""
        if not isinstance(self._data, int) or not self.size_bytes:
            yield self.data or b""
            return
        pages = mmap.mmap(self._data, self.size_bytes, access=mmap.ACCESS_READ)
        try:
            with memoryview(pages) as view:
                yield view
        finally:
            # Where somebody still has a part, such as the traceback of an error, the last of them closes it.
            with suppress(BufferError):
                pages.close()

    def close(self) -> None:
        """Let go of them. May be repeated."""
        data, self._data = self._data, None
        if isinstance(data, int):
            os.close(data)


def copy_file(opened: FileIO, size: int) -> HashedContent:
    """Copy a file, up to so many bytes; what grows meanwhile is noticed behind. Blocks.

    Returns:
        The caller's, who closes it.
    """
    content = _as_memory_file(_read(opened, size), size)
    if content is not None:
        return content
    opened.seek(0)
    return _as_bytes(opened.read(size))


def concatenate(parts: Sequence[bytes | memoryview]) -> HashedContent:
    """Copy the parts, one after another. Blocks; keeps no part.

    Returns:
        The caller's, who closes it.
    """
    return _as_memory_file(_chunks(parts), sum(map(len, parts))) or _as_bytes(b"".join(parts))


def _as_bytes(data: bytes) -> HashedContent:
    return HashedContent(hashlib.sha256(data).digest(), data, len(data))


def _as_memory_file(chunks: Iterable[bytes | memoryview], size: int) -> HashedContent | None:
    """A file in memory, of chunks; None where it would be a small one, or cannot be had."""
    descriptor = _memory_file() if size > CHUNK_BYTES else None
    if descriptor is None:
        return None
    try:
        return _copy_to_memory_file(chunks, descriptor)
    except OSError:
        # Memory may be had though a file of that size may not be; what is wrong with the source comes again.
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise


def _memory_file() -> int | None:
    """None where the system has no such files, or a sandbox forbids them."""
    if not hasattr(os, "memfd_create") or not _DESCRIPTORS.is_dir():
        return None
    with suppress(OSError):
        return os.memfd_create("model", os.MFD_CLOEXEC)
    return None


def _copy_to_memory_file(chunks: Iterable[bytes | memoryview], descriptor: int) -> HashedContent:
    """Hashing and writing, as reading, are done without the interpreter's lock."""
    whole, done = hashlib.sha256(), 0
    for chunk in chunks:
        whole.update(chunk)
        done += len(chunk)
        left = memoryview(chunk)
        while left:
            left = left[os.write(descriptor, left) :]
    return HashedContent(whole.digest(), descriptor, done)


def _read(opened: FileIO, size: int) -> Iterator[memoryview]:
    """What is there of so many bytes. Each chunk holds until the next one."""
    done = 0
    with memoryview(bytearray(CHUNK_BYTES)) as buffer:
        while done < size and (count := opened.readinto(buffer[: size - done])):
            done += count
            yield buffer[:count]


def _chunks(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    return (part[start : start + CHUNK_BYTES] for part in parts for start in range(0, len(part), CHUNK_BYTES))
