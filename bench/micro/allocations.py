"""Memory that a call takes, measured apart from its time.

Python counts no allocations, only existing blocks. So there are two figures: the blocks that the result of a call
retains (``sys.getallocatedblocks``), and the peak of bytes during one call (tracemalloc, to which Python's allocators
and numpy report). What is allocated and freed within a call shows only in the second.
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
    """Peak of bytes allocated during the call."""
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
