"""What is freed quickly is not given back at once, and not kept either; and what has been freed can be given back."""

from __future__ import annotations

import ctypes
import platform
import resource
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from sardonyx_server.runtime.process import deferred_heap_trim, trim_heap

_MIB = 2**20
# glibc's regions for threads other than the first; what is smaller than 128 KiB lies in one at any setting.
_REGION_BYTES = 64 * _MIB
_BLOCK_BYTES = 100 * 1024
_BLOCKS = 3 * _REGION_BYTES // _BLOCK_BYTES


def _address_space_bytes() -> int:
    return _size_bytes(0)


def _resident_bytes() -> int:
    return _size_bytes(1)


def _size_bytes(field: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def _sizes() -> tuple[int, int, int]:
    """Bytes of address space with all blocks, after they were freed quickly, and after one more was freed."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    sizes: list[int] = []

    def run() -> None:
        blocks = [ctypes.c_void_p(library.malloc(ctypes.c_size_t(_BLOCK_BYTES))) for _ in range(_BLOCKS)]
        sizes.append(_address_space_bytes())
        with deferred_heap_trim():
            for block in blocks:
                library.free(block)
        sizes.append(_address_space_bytes())
        library.free(ctypes.c_void_p(library.malloc(ctypes.c_size_t(_BLOCK_BYTES))))
        sizes.append(_address_space_bytes())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    full, kept, given_back = sizes
    return full, kept, given_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no such regions")
def test_regions_that_are_freed_quickly_are_given_back_with_what_is_freed_next() -> None:
    """By the address space: of a block only the first page is touched. In a process whose regions nobody else uses."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as alone:
        full, kept, given_back = alone.submit(_sizes).result()
    assert kept > full - _REGION_BYTES
    assert given_back <= full - _REGION_BYTES


def _kept_and_given_back() -> tuple[int, int]:
    """Bytes in memory after all but the last of many blocks were freed, and after that was given back."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    blocks = [ctypes.c_void_p(library.malloc(ctypes.c_size_t(_BLOCK_BYTES))) for _ in range(_BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, _BLOCK_BYTES)
    for block in blocks[:-1]:
        library.free(block)
    kept = _resident_bytes()
    trim_heap()
    given_back = _resident_bytes()
    library.free(blocks[-1])
    return kept, given_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library keeps nothing")
def test_what_lies_free_before_a_crumb_is_given_back() -> None:
    """The last block is in use, so glibc keeps all those before it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as alone:
        kept, given_back = alone.submit(_kept_and_given_back).result()
    assert kept - given_back > _BLOCKS * _BLOCK_BYTES // 2
