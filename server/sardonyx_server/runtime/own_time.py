"""What a thread has had of a core: the time that others had is not that of its runs. Measures no runs itself."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Own", "OwnTime", "own_time"]


class Own(NamedTuple):
    """What a thread has had since it began.

    Attributes:
        seconds: On a core.
        waits: How often it gave its core up by itself, for a lock, a device or another thread.
    """

    seconds: float
    waits: int


OwnTime: TypeAlias = "Callable[[], Own]"
"""What the calling thread has had so far."""

if sys.platform == "linux":
    import resource

    def own_time() -> Own:
        """Of the calling thread. Takes a microsecond or two."""
        waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        # Not of getrusage(), which learns how long a running thread has run only every few milliseconds.
        return Own(time.thread_time(), waits)

else:

    def own_time() -> Own:
        """As if the calling thread had had a core all the time: what others had is not told here."""
        return Own(time.perf_counter(), 0)
