"""When large tensors go through shared memory, and what is asked of the server for it. No I/O: a front does each step.

    unknown --ServerMetadata says it works--> on --a region cannot be made or registered--> off, for a while
       ^                                      |                                                       |
       `--the server has forgotten a region---'                       `-------- the while is over ----> unknown

A server that says it does not work, or does not answer soon, turns it off as well.

Only servers that name the extension ``system_shared_memory(output_region)`` are taken: they put outputs whose sizes
nobody knows beforehand where there is room, and they forget what a killed client leaves behind. That a server is on
this machine needs no proof of its own: no other could open an object whose name was made up a moment ago.

Whatever goes wrong with the memory, the call is made again with its tensors in the message, so callers see no
difference but in time; and of that a question to the server takes a part only (:func:`patience_s`).
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client import _operations
from sardonyx_client._errors import (
    Cancelled,
    ClientClosed,
    ClientError,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
)
from sardonyx_client._operations import Operation
from sardonyx_client._room import Room, aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from numpy.typing import ArrayLike

    from sardonyx_client._coalesce import Request
    from sardonyx_client._core import Core
    from sardonyx_client._options import Retry, Share
    from sardonyx_client._region_pool import RegionPool
    from sardonyx_client._shared_region import SharedRegion
    from sardonyx_client._values import Result

    # A call, answered by its bytes or its ClientError (within patience_s, but for the inference); or seconds to wait.
    Step = Operation[Any] | float
    Steps = Generator[Step, Any, Result | None]

__all__ = ["EXTENSION", "OUTPUT_REGION", "Sharing", "patience_s"]

EXTENSION: Final = "system_shared_memory(output_region)"
OUTPUT_REGION: Final = "sardonyx_output_region"

# How long a server that refuses, or a machine without memory, is left alone.
_OFF_S: Final = 60.0
# The answers of a model by which the room for the next is measured.
_REMEMBERED: Final = 8
# A question takes about a millisecond where all is well.
_LONGEST_QUESTION_S: Final = 1.0
_QUESTION_OF_CALL: Final = 0.25
# One that was not answered in time is not asked again for so many times as long as the caller waited, who may have had
# little time: that says less of the server than a second does.
_OFF_PER_WAITED: Final = 60.0
_NOT_ITS_FAULT: Final = (Cancelled, ClientClosed, DeadlineExceeded, Unavailable)
_REFUSED: Final = (InvalidArgument, NotFound, PermissionDenied, Unimplemented)


def patience_s(left_s: float | None) -> float:
    """How long a question to the server may take of what is left of a call's time; None = no limit of the call."""
    return _LONGEST_QUESTION_S if left_s is None else min(_LONGEST_QUESTION_S, _QUESTION_OF_CALL * left_s)


class Sharing:
    """For one client. Thread-safe.

    Args:
        options: What is large, and how much may be used.
        core: Of the client.
        retry: Of the client: without, a call that found no server is not made again.
        clock: Seconds that only grow.
    """

    def __init__(
        self, options: Share, core: Core, retry: Retry | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._least_bytes = options.least_bytes
        self._most_bytes = options.most_bytes
        self._core = core
        self._retry = retry
        self._clock = clock
        self._is_on = False
        self._off_until_s = -float("inf")
        self._making = threading.Lock()
        self._pool: RegionPool | None = None
        self._answers: dict[str, tuple[int, ...]] = {}

    def wants(self, model: str, inputs: Mapping[str, Any] | None, named_inputs: Mapping[str, Any]) -> bool:
        """Whether a call has large tensors, as far as one can see, and may share them. Quick where it has none."""
        least_bytes = self._least_bytes
        large = model in self._answers
        if not large:
            for value in named_inputs.values():
                if getattr(value, "nbytes", 0) >= least_bytes:
                    large = True
                    break
            else:
                large = (
                    any(getattr(value, "nbytes", 0) >= least_bytes for value in inputs.values()) if inputs else False
                )
        return large and self._clock() >= self._off_until_s

    def learn(self, model: str, answer_bytes: int) -> None:
        """An answer of the model had so many bytes, wherever they were."""
        sizes = self._answers.get(model, ())
        if not sizes and answer_bytes < self._least_bytes:
            return
        # A new tuple each time: other threads may be looking at the old one.
        sizes = (*sizes[1 - _REMEMBERED :], answer_bytes)
        if max(sizes) >= self._least_bytes:
            self._answers[model] = sizes
        else:
            self._answers.pop(model, None)

    def infer(
        self,
        asks: Request,
        inputs: Mapping[str, ArrayLike] | None,
        named_inputs: Mapping[str, ArrayLike],
        request_id: str,
    ) -> Steps:
        """The steps of one call; their result is that of the call, or None where it is to be sent in the usual way.

        Raises:
            ClientError: The call failed, and sending it in the usual way would not help.
        """
        if not (self._is_on or (yield from self._ask())):
            return None
        held: list[SharedRegion] = []
        try:
            values = [*(inputs or {}).values(), *named_inputs.values()]
            takes = yield from self._region(self._input_bytes(values), held)
            gives = yield from self._region(max(self._answers.get(asks.model, ()), default=0), held)
            if takes is None and gives is None:
                return None
            room = Room(takes, gives, least_bytes=self._least_bytes)
            encoded = self._core.encode(
                asks.model,
                inputs,
                named_inputs,
                version=asks.version,
                outputs=asks.outputs,
                request_id=request_id,
                parameters=asks.parameters if gives is None else {**asks.parameters, OUTPUT_REGION: gives.name},
                room=room,
            )
            began_s = time.perf_counter()
            try:
                answer = yield Operation("ModelInfer", encoded.message, bytes)
            except _REFUSED as error:
                # The server has answered, so it is done with the memory.
                self._give_back(held)
                self._refused(error)
                return None
            except Unavailable as error:
                if self._retry is None:
                    raise
                advice_s = error.retry_after_s
                yield random.uniform(0, 2 * self._retry.first_pause_s) if advice_s is None else advice_s  # noqa: S311
                return None
            try:
                call_s = time.perf_counter() - began_s
                result = self._core.decode(answer, encode_s=encoded.encode_s, call_s=call_s, room=room)
            finally:
                if room.shown is not None and gives is not None and self._pool is not None:
                    held.remove(gives)
                    self._pool.give_back_with(room.shown, gives)
                self._give_back(held)
            self.learn(asks.model, room.taken_bytes + len(answer))
            return result
        finally:
            # What is left here was given to a server that may still use it.
            for region in held:
                if self._pool is not None:
                    self._pool.let_go(region)

    def close(self) -> None:
        """Let go of the memory. Results that lie in it stay good."""
        self._off_until_s = float("inf")
        if self._pool is not None:
            self._pool.forget()

    def _ask(self) -> Generator[Step, Any, bool]:
        """Ask the server whether it can."""
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
                from sardonyx_client._region_pool import RegionPool
                from sardonyx_client._shared_region import remove_leftovers

                remove_leftovers()
                self._pool = RegionPool(self._most_bytes)
        self._is_on = True
        return True

    def _question(self, operation: Operation[Any]) -> Generator[Step, Any, Any]:
        """A call that no caller has asked for."""
        began_s = self._clock()
        try:
            return (yield operation)
        except DeadlineExceeded:
            self._turn_off(_OFF_PER_WAITED * (self._clock() - began_s))
            raise

    def _input_bytes(self, values: Iterable[Any]) -> int:
        """What the large inputs take in a region."""
        sizes = [getattr(value, "nbytes", 0) for value in values]
        return sum(aligned(size) for size in sizes if size >= self._least_bytes)

    def _region(self, size_bytes: int, held: list[SharedRegion]) -> Generator[Step, Any, SharedRegion | None]:
        """One region that the server knows, added to ``held``; None where none is needed or none can be had."""
        if self._pool is None or not self._is_on or not size_bytes:
            return None
        try:
            taken = self._pool.take(size_bytes)
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

    def _give_back(self, regions: list[SharedRegion]) -> None:
        if self._pool is not None:
            for region in regions:
                self._pool.give_back(region)
        regions.clear()

    def _refused(self, error: ClientError) -> None:
        """What a refusal says of the memory: the rest of it is for the usual way to find out."""
        if error.reason == "REGION_NOT_FOUND":
            # Another server than before.
            self._is_on = False
            if self._pool is not None:
                self._pool.forget()
        elif error.reason == "SHARED_MEMORY_OFF":
            self._turn_off()

    def _turn_off(self, seconds: float = _OFF_S) -> None:
        self._is_on = False
        self._off_until_s = max(self._off_until_s, self._clock() + seconds)
        if self._pool is not None:
            self._pool.forget()
