"""Whether the server takes shared memory, and the regions it knows. No I/O: a front does each step.

    unknown --ServerMetadata says it works--> on --a region cannot be made or registered--> off, for a while
       ^                                      |                                                       |
       `--the server has forgotten a region---'                       `-------- the while is over ----> unknown

A server that says it does not work, or does not answer soon, turns it off as well.

Only servers that name the extension ``system_shared_memory(output_region)`` are taken: they put outputs whose sizes
nobody knows beforehand where there is room, and they forget what a killed client leaves behind. That a server is on
this machine needs no proof of its own: no other could open an object whose name was made up a moment ago. A question
to the server takes a part of the caller's time only (:func:`patience_s`).
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

    from sardonyx_client._regions.region_pool import RegionPool, Use
    from sardonyx_client._regions.shared_region import SharedRegion

    # A call, answered by its bytes or its ClientError (within patience_s, but for the inference); or seconds to wait.
    Step = Operation[Any] | float

__all__ = ["EXTENSION", "Agreement", "patience_s"]

EXTENSION: Final = "system_shared_memory(output_region)"

# How long a server that refuses, or a machine without memory, is left alone.
_OFF_S: Final = 60.0
# A question takes about a millisecond where all is well.
_LONGEST_QUESTION_S: Final = 1.0
_QUESTION_OF_CALL: Final = 0.25
# One that was not answered in time is not asked again for so many times as long as the caller waited, who may have had
# little time: that says less of the server than a second does.
_OFF_PER_WAITED: Final = 60.0
_NOT_ITS_FAULT: Final = (Cancelled, ClientClosed, DeadlineExceeded, Unavailable)


def patience_s(left_s: float | None) -> float:
    """How long a question to the server may take of what is left of a call's time; None = no limit of the call."""
    return _LONGEST_QUESTION_S if left_s is None else min(_LONGEST_QUESTION_S, _QUESTION_OF_CALL * left_s)


class Agreement:
    """Of one client with its server. Thread-safe.

    Args:
        most_bytes: Of all regions together.
        clock: Seconds that only grow.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float]) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._is_on = False
        self._off_until_s = -float("inf")
        self._making = threading.Lock()
        self._pool: RegionPool | None = None

    @property
    def is_off(self) -> bool:
        """Whether nothing shall be asked of the server now."""
        return self._clock() < self._off_until_s

    def reach(self) -> Generator[Step, Any, bool]:
        """Ask the server whether it can, unless that is known; whether it can."""
        if self._is_on:
            return True
        operation = _operations.server_metadata()
        try:
            answer = yield from self._question(operation)
            offered = EXTENSION in operation.decode(answer).extensions
        except ClientError as error:
            offered = False
            if isinstance(error, _NOT_ITS_FAULT):
                return False
        if not offered or sys.platform != "linux":
            self._turn_off()
            return False
        # Threads may make their first calls at once, and what a second pool holds nobody would let go of.
        with self._making:
            if self._pool is None:
                from sardonyx_client._regions.region_pool import RegionPool
                from sardonyx_client._regions.shared_region import remove_leftovers

                remove_leftovers()
                self._pool = RegionPool(self._most_bytes)
        self._is_on = True
        return True

    def region(self, size_bytes: int, use: Use, held: list[SharedRegion]) -> Generator[Step, Any, SharedRegion | None]:
        """One region that the server knows, added to ``held``; None where none is needed or none can be had."""
        if self._pool is None or not self._is_on or not size_bytes:
            return None
        try:
            taken = self._pool.take(size_bytes, use)
            if taken is None:
                return None
            region, is_new = taken
            held.append(region)
            if is_new:
                region.publish()
        except OSError:
            self._turn_off()
            return None
        if not is_new:
            return region
        try:
            yield from self._question(
                _operations.register_shared_memory(
                    region.name, region.name, size_bytes=region.size_bytes, offset_bytes=0
                )
            )
        except ClientError as error:
            held.remove(region)
            self._pool.let_go(region)
            if not isinstance(error, _NOT_ITS_FAULT):
                self._turn_off()
            return None
        finally:
            with contextlib.suppress(OSError):
                region.hide()
        return region

    def give_back(self, held: list[SharedRegion]) -> None:
        """All of these may be used for other calls; the list is emptied."""
        if self._pool is not None:
            for region in held:
                self._pool.give_back(region)
        held.clear()

    def give_back_with(self, view: NDArray[np.uint8], region: SharedRegion, held: list[SharedRegion]) -> None:
        """One of them may, once the last view that keeps ``view`` alive is gone."""
        if self._pool is not None:
            held.remove(region)
            self._pool.give_back_with(view, region)

    def let_go(self, held: list[SharedRegion]) -> None:
        """None of these must be used again: the server may still use them."""
        if self._pool is not None:
            for region in held:
                self._pool.let_go(region)

    def refused(self, error: ClientError) -> None:
        """What a refusal says of the memory: the rest of it is for the usual way to find out."""
        if error.reason == "REGION_NOT_FOUND":
            # Another server than before.
            self._is_on = False
            if self._pool is not None:
                self._pool.forget()
        elif error.reason == "SHARED_MEMORY_OFF":
            self._turn_off()

    def close(self) -> None:
        """Let go of the memory. Results that lie in it stay good."""
        self._off_until_s = float("inf")
        if self._pool is not None:
            self._pool.forget()

    def _question(self, operation: Operation[Any]) -> Generator[Step, Any, Any]:
        """A call that no caller has asked for."""
        began_s = self._clock()
        try:
            return (yield operation)
        except DeadlineExceeded:
            self._turn_off(_OFF_PER_WAITED * (self._clock() - began_s))
            raise

    def _turn_off(self, seconds: float = _OFF_S) -> None:
        self._is_on = False
        self._off_until_s = max(self._off_until_s, self._clock() + seconds)
        if self._pool is not None:
            self._pool.forget()
