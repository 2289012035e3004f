"""Memory for the bytes of a large file: filled and given back in pieces, so that nobody waits for the whole of it."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

__all__ = ["PIECE_BYTES", "join", "let_go", "read_whole"]

_KIB: Final = 2**10
_MIB: Final = 2**20

# A read of a large file as a whole keeps its core for up to 0.7 ms at a time, whoever waits for it (Linux 6.18 without
# full preemption, 2026-11-26): at the lowest priority, too.
PIECE_BYTES: Final = 256 * _KIB
"""What is larger lies in pages of its own."""

# 30 us. Each needs the interpreter's lock before and after it, and those who serve want that, too.
_GIVEN_BACK_BYTES: Final = _MIB


def read_whole(opened: FileIO, size: int) -> bytes | memoryview:
    """Up to so many bytes, read-only; what grows meanwhile is noticed behind. Blocks.

    Returns:
        Memory that :func:`let_go` frees.
    """
    if size <= PIECE_BYTES:
        return opened.read(size)
    pages = _new(size)
    done = 0
    with memoryview(pages) as view:
        while done < size and (count := opened.readinto(view[done : done + PIECE_BYTES])):
            done += count
        return view[:done].toreadonly()


def join(parts: Sequence[bytes | memoryview]) -> bytes | memoryview:
    """The parts as one, read-only. Blocks while it copies; keeps no part.

    Returns:
        Memory that :func:`let_go` frees.
    """
    size = sum(map(len, parts))
    if size <= PIECE_BYTES:
        return b"".join(parts)
    pages = _new(size)
    done = 0
    with memoryview(pages) as view:
        for part in parts:
            # At once it would keep the interpreter's lock for all of a large one.
            for start in range(0, len(part), PIECE_BYTES):
                piece = part[start : start + PIECE_BYTES]
                view[done : done + len(piece)] = piece
                done += len(piece)
        return view.toreadonly()


def let_go(data: bytes | memoryview) -> None:
    """Free what :func:`read_whole` gave, in pieces. Blocks, mostly without the interpreter's lock.

    To free ``bytes`` of 102 MB held that lock for 3 ms. To give so many pages back at once holds the lock of the
    process's memory as long, and whoever wants memory waits for that with the interpreter's lock in his hand. Nobody is
    served meanwhile (2026-11-26).
    """
    if not isinstance(data, memoryview):
        return
    pages = data.obj
    data.release()
    if isinstance(pages, mmap.mmap):
        _give_back(pages)
        pages.close()


def _new(size: int) -> mmap.mmap:
    # Private ones: what others might share is only freed as a whole, when it is closed.
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    return mmap.mmap(-1, size, **private)


def _give_back(pages: mmap.mmap) -> None:
    """What lies in them is gone. ``mmap.madvise`` would do the same, but keep the interpreter's lock meanwhile."""
    advice = getattr(mmap, "MADV_DONTNEED", None)
    madvise = None if advice is None else getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    first = ctypes.c_char.from_buffer(pages)
    begin = ctypes.addressof(first)
    del first  # Pages that somebody has a view of cannot be closed.
    for start in range(0, len(pages), _GIVEN_BACK_BYTES):
        count = min(_GIVEN_BACK_BYTES, len(pages) - start)
        madvise(ctypes.c_void_p(begin + start), ctypes.c_size_t(count), advice)
