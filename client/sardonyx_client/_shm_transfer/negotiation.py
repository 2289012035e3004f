"""Whether the server supports shared memory, and the regions registered with it. No I/O; yields the calls to make.

    unknown --ServerMetadata says it is supported--> active --a region cannot be made or registered--> suspended
       ^                                                |                                                 |
       `--the server does not know a region any more----'                        `----- after a while --> unknown

A server that does not support it, or does not respond in time, also suspends it.

Only servers that advertise the extension ``system_shared_memory(output_region)`` qualify: they place outputs of unknown
size in a region, and they release the regions of a killed client. Whether the server is on this host needs no
proof of its own: no other could open an object whose name was generated a moment ago. A probe may take only a
part of the caller's time (:func:`probe_timeout_s`).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client import _operations
from sardonyx_client._errors import Cancelled, ClientClosed, ClientError, DeadlineExceeded, Unavailable
from sardonyx_client._operations import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy as np
    from numpy.typing import NDArray

    from sardonyx_client._shm_pool.region_pool import RegionPool, Use
    from sardonyx_client._shm_pool.shared_region import SharedRegion

    # A call, to which its response or its ClientError is sent back (within probe_timeout_s, except for inference); or
    # seconds to sleep.
    Step = Operation[Any] | float

__all__ = ["EXTENSION", "Negotiation", "probe_timeout_s"]

EXTENSION: Final = "system_shared_memory(output_region)"

# How long to suspend after a refusal of the server, or when this machine is out of memory.
_SUSPEND_S: Final = 60.0
# A probe normally takes about a millisecond.
_MAX_PROBE_S: Final = 1.0
_PROBE_SHARE: Final = 0.25
# After a probe without a response: the suspension, as a multiple of the time waited. A caller with a short timeout
# learns less about the server than one that waited for a second.
_SUSPEND_PER_WAITED: Final = 60.0
_INCONCLUSIVE: Final = (Cancelled, ClientClosed, DeadlineExceeded, Unavailable)


def probe_timeout_s(remaining_s: float | None) -> float:
    """Timeout of a probe, given the remaining timeout of the call; None = the call has no timeout."""
    return _MAX_PROBE_S if remaining_s is None else min(_MAX_PROBE_S, _PROBE_SHARE * remaining_s)


class Negotiation:
    """Negotiation of one client with its server. Thread-safe.

    Args:
        max_bytes: Most bytes of all regions together.
        clock: Monotonic clock in seconds.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._active = False
        self._suspended_until_s = -float("inf")
        self._pool_lock = threading.Lock()
        self._pool: RegionPool | None = None

    @property
    def suspended(self) -> bool:
        """Whether shared memory is not used now."""
        return self._clock() < self._suspended_until_s

    def negotiate(self) -> Generator[Step, Any, bool]:
        """Probe the server unless its answer is known; returns whether it supports shared memory."""
        if self._active:
            return True
        operation = _operations.server_metadata()
        try:
            answer = yield from self._probe(operation)
            offered = EXTENSION in operation.decode(answer).extensions
        except ClientError as error:
            offered = False
            if isinstance(error, _INCONCLUSIVE):
                return False
        if not offered or sys.platform != "linux":
            self._suspend()
            return False
        # Threads may make their first calls at once, and nobody would release the regions of a second pool.
        with self._pool_lock:
            if self._pool is None:
                from sardonyx_client._shm_pool.region_pool import RegionPool
                from sardonyx_client._shm_pool.shared_region import remove_leftovers

                remove_leftovers()
                self._pool = RegionPool(self._max_bytes)
        self._active = True
        return True

    def region(self, size_bytes: int, use: Use, held: list[SharedRegion]) -> Generator[Step, Any, SharedRegion | None]:
        """A registered region, also added to ``held``; None = none is needed, or none is available."""
        if self._pool is None or not self._active or not size_bytes:
            return None
        try:
            taken = self._pool.acquire(size_bytes, use)
            if taken is None:
                return None
            region, is_new = taken
            held.append(region)
            if is_new:
                region.link()
        except OSError:
            self._suspend()
            return None
        if not is_new:
            return region
        try:
            yield from self._probe(
                _operations.register_shared_memory(
                    region.name, region.name, size_bytes=region.size_bytes, offset_bytes=0
                )
            )
        except ClientError as error:
            held.remove(region)
            self._pool.discard(region)
            if not isinstance(error, _INCONCLUSIVE):
                self._suspend()
            return None
        finally:
            with contextlib.suppress(OSError):
                region.unlink()
        return region

    def release(self, held: list[SharedRegion]) -> None:
        """Return regions to the pool, and empty the list."""
        if self._pool is not None:
            for region in held:
                self._pool.release(region)
        held.clear()

    def release_with_view(self, view: NDArray[np.uint8], region: SharedRegion, held: list[SharedRegion]) -> None:
        """Return a region to the pool once ``view`` and all views of it are gone."""
        if self._pool is not None:
            held.remove(region)
            self._pool.release_with_view(view, region)

    def discard(self, held: list[SharedRegion]) -> None:
        """Close regions that must not be reused because the server may still use them."""
        if self._pool is not None:
            for region in held:
                self._pool.discard(region)

    def handle_refusal(self, error: ClientError) -> None:
        """Learn from a refused call what it says about shared memory; its other causes show when it is sent again."""
        if error.reason == "REGION_NOT_FOUND":
            # The server was restarted, or it is another one.
            self._active = False
            if self._pool is not None:
                self._pool.clear()
        elif error.reason == "SHARED_MEMORY_OFF":
            self._suspend()

    def close(self) -> None:
        """Release the memory. Results that are views of it stay valid."""
        self._suspended_until_s = float("inf")
        if self._pool is not None:
            self._pool.clear()

    def _probe(self, operation: Operation[Any]) -> Generator[Step, Any, Any]:
        """A call that the client makes on its own behalf."""
        began_s = self._clock()
        try:
            return (yield operation)
        except DeadlineExceeded:
            self._suspend(_SUSPEND_PER_WAITED * (self._clock() - began_s))
            raise

    def _suspend(self, seconds: float = _SUSPEND_S) -> None:
        self._active = False
        self._suspended_until_s = max(self._suspended_until_s, self._clock() + seconds)
        if self._pool is not None:
            self._pool.clear()
