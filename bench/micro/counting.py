"""What a call takes of memory, counted apart from its time. Times nothing.

Python tells no number of allocations, only how many blocks there are. So two figures: the blocks that the result of a
call holds on to (``sys.getallocatedblocks``), and the most bytes that were taken at any moment of one call
(tracemalloc, to which Python's allocators and numpy report). What is taken and given back within a call shows in the
second alone.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

__all__ = ["held_blocks", "peak_bytes"]

_CALLS: Final = 64


def held_blocks(call: Callable[[], Any]) -> float:
    """Blocks of memory that one result holds on to, on average.

    Fractions come from tables that grow once in many calls. Blocks above 512 bytes come from the C library and are not
    among them; :func:`peak_bytes` sees them.
    """
    call()  # whatever is made once and kept
    results: list[Any] = [None] * _CALLS
    gc.collect()
    before = sys.getallocatedblocks()
    for index in range(_CALLS):
        results[index] = call()
    return (sys.getallocatedblocks() - before) / _CALLS


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most bytes beyond those before the call, at any moment of it."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        result = call()
        _, peak = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return peak - before
