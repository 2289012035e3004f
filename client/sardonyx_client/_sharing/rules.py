"""When large tensors go through shared memory, and the steps of a call that does. No I/O: a front does each step.

Whatever goes wrong with the memory, the call is made again with its tensors in the message, so callers see no
difference but in time. What the server must agree to is in ``agreement.py``.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client._errors import InvalidArgument, NotFound, PermissionDenied, Unavailable, Unimplemented
from sardonyx_client._operations import Operation
from sardonyx_client._regions.room import Room, aligned
from sardonyx_client._sharing.agreement import Agreement
from sardonyx_client._sharing.nearness import is_near
from sardonyx_client._timeout import LONGEST_ADVICE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from sardonyx_client._core import Core
    from sardonyx_client._options import Hedge, Retry, Share
    from sardonyx_client._regions.shared_region import SharedRegion
    from sardonyx_client._request import Request
    from sardonyx_client._sharing.agreement import Step
    from sardonyx_client._values import Result

    Steps = Generator[Step, Any, Result | None]

__all__ = ["OUTPUT_REGION", "Sharing", "sharing_of"]

OUTPUT_REGION: Final = "sardonyx_output_region"

# The answers of a model by which the room for the next is measured.
_REMEMBERED: Final = 8
_REFUSED: Final = (InvalidArgument, NotFound, PermissionDenied, Unimplemented)


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
        self._core = core
        self._retry = retry
        self._agreement = Agreement(options.most_bytes, clock)
        self._answers: dict[str, tuple[int, ...]] = {}

    def wants(self, request: Request) -> bool:
        """Whether a call has large tensors, as far as one can see, and may share them. Quick where it has none."""
        least_bytes = self._least_bytes
        large = request.model in self._answers
        if not large:
            for value in request.inputs.values():
                if getattr(value, "nbytes", 0) >= least_bytes:
                    large = True
                    break
        return large and not self._agreement.is_off

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

    def infer(self, request: Request, *, endless: bool) -> Steps:
        """The steps of one call; their result is that of the call, or None where it is to be sent in the usual way.

        ``endless``: it has no limit of time.

        Raises:
            ClientError: The call failed, and sending it in the usual way would not help.
        """
        agreement = self._agreement
        if not (yield from agreement.reach()):
            return None
        held: list[SharedRegion] = []
        try:
            takes = yield from agreement.region(self._input_bytes(request.inputs.values()), "inputs", held)
            gives = yield from agreement.region(max(self._answers.get(request.model, ()), default=0), "outputs", held)
            if takes is None and gives is None:
                return None
            room = Room(takes, gives, least_bytes=self._least_bytes)
            if gives is not None:
                request = request._replace(parameters={**request.parameters, OUTPUT_REGION: gives.name})
            encoded = self._core.encode(request, room)
            began_s = time.perf_counter()
            try:
                answer = yield Operation("ModelInfer", encoded.message, bytes)
            except _REFUSED as error:
                # The server has answered, so it is done with the memory.
                agreement.give_back(held)
                agreement.refused(error)
                return None
            except Unavailable as error:
                advice_s = error.retry_after_s
                if self._retry is None or (endless and (advice_s or 0.0) > LONGEST_ADVICE_S):
                    raise
                yield random.uniform(0, 2 * self._retry.first_pause_s) if advice_s is None else advice_s  # noqa: S311
                return None
            try:
                call_s = time.perf_counter() - began_s
                result = self._core.decode(answer, encode_s=encoded.encode_s, call_s=call_s, room=room)
            finally:
                if room.shown is not None and gives is not None:
                    agreement.give_back_with(room.shown, gives, held)
                agreement.give_back(held)
            self.learn(request.model, room.taken_bytes + len(answer))
            return result
        finally:
            # What is left here was given to a server that may still use it.
            agreement.let_go(held)

    def close(self) -> None:
        """Let go of the memory. Results that lie in it stay good."""
        self._agreement.close()

    def _input_bytes(self, values: Iterable[Any]) -> int:
        """What the large inputs take in a region."""
        sizes = [getattr(value, "nbytes", 0) for value in values]
        return sum(aligned(size) for size in sizes if size >= self._least_bytes)


def sharing_of(
    options: Share | None, core: Core, target: str, *, retry: Retry | None, hedge: Hedge | None
) -> Sharing | None:
    """What a client of this target shares; None = nothing."""
    # A hedged call runs twice, and each server has memory of its own.
    if options is None or hedge is not None or not (options.any_address or is_near(target)):
        return None
    return Sharing(options, core, retry)
