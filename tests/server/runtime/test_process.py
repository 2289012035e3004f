"""What is freed quickly is not given back at once, and not kept either."""

from __future__ import annotations

import ctypes
import platform
import resource
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from sardonyx_server.runtime.process import freeing_quickly

_MIB = 2**20
# glibc's regions for threads other than the first; what is smaller than 128 KiB lies in one at any setting.
_REGION_BYTES = 64 * _MIB
_BLOCK_BYTES = 100 * 1024
_BLOCKS = 3 * _REGION_BYTES // _BLOCK_BYTES


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _sizes() -> tuple[int, int, int]:
    """Bytes of address space with all blocks, after they were freed quickly, and after one more was freed."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    sizes: list[int] = []

    def run() -> None:
        blocks = [ctypes.c_void_p(library.malloc(ctypes.c_size_t(_BLOCK_BYTES))) for _ in range(_BLOCKS)]
        sizes.append(_address_space_bytes())
        with freeing_quickly():
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
