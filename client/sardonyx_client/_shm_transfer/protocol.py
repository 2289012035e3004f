"""Decides when large tensors go through shared memory, and yields the steps of such a call. No I/O.

Whatever fails about the shared memory, the call is made again with its tensors in the message, so callers notice only
the time. What the server must support is in ``negotiation.py``; ``transfer.py`` carries out the steps.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

from sardonyx_client._errors import InvalidArgument, NotFound, PermissionDenied, Unavailable, Unimplemented
from sardonyx_client._operations import Operation
from sardonyx_client._shm_pool.call_regions import CallRegions, aligned
from sardonyx_client._shm_transfer.negotiation import Negotiation
from sardonyx_client._shm_transfer.same_host import is_same_host
from sardonyx_client._timeout import MAX_RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from sardonyx_client._core import Core
    from sardonyx_client._options import Hedge, Retry, Share
    from sardonyx_client._request import Request
    from sardonyx_client._shm_pool.shared_region import SharedRegion
    from sardonyx_client._shm_transfer.negotiation import Step
    from sardonyx_client._values import Result

    Steps = Generator[Step, Any, Result | None]

__all__ = ["OUTPUT_REGION", "ShmProtocol", "make_shm_protocol"]

OUTPUT_REGION: Final = "sardonyx_output_region"

# Number of a model's last responses that determine the size of the next output region.
_HISTORY: Final = 8
_REFUSED: Final = (InvalidArgument, NotFound, PermissionDenied, Unimplemented)


class ShmProtocol:
    """Shared-memory transfer of one client. Thread-safe.

    Args:
        options: Limits.
        core: The client's core.
        retry: The client's retry policy; None = a call whose server is unavailable is not made again.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self, options: Share, core: Core, retry: Retry | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._min_bytes = options.min_bytes
        self._core = core
        self._retry = retry
        self._negotiation = Negotiation(options.max_bytes, clock)
        self._response_bytes: dict[str, tuple[int, ...]] = {}

    def applies_to(self, request: Request) -> bool:
        """Whether a call probably has large tensors, and may share them. Fast if it has none."""
        min_bytes = self._min_bytes
        large = request.model in self._response_bytes
        if not large:
            for value in request.inputs.values():
                if getattr(value, "nbytes", 0) >= min_bytes:
                    large = True
                    break
        return large and not self._negotiation.suspended

    def record_response_size(self, model: str, answer_bytes: int) -> None:
        """Record the size of a response of a model, shared memory included."""
        sizes = self._response_bytes.get(model, ())
        if not sizes and answer_bytes < self._min_bytes:
            return
        # A new tuple each time, because other threads may be reading the old one.
        sizes = (*sizes[1 - _HISTORY :], answer_bytes)
        if max(sizes) >= self._min_bytes:
            self._response_bytes[model] = sizes
        else:
            self._response_bytes.pop(model, None)

    def infer(self, request: Request, *, no_deadline: bool) -> Steps:
        """The steps of one call. They return the result, or None if the call must be sent without shared memory.

        ``no_deadline``: the call has no timeout.

        Raises:
            ClientError: The call failed, and sending it without shared memory would not help.
        """
        negotiation = self._negotiation
        if not (yield from negotiation.negotiate()):
            return None
        held: list[SharedRegion] = []
        try:
            inputs = yield from negotiation.region(self._input_bytes(request.inputs.values()), "inputs", held)
            outputs = yield from negotiation.region(
                max(self._response_bytes.get(request.model, ()), default=0), "outputs", held
            )
            if inputs is None and outputs is None:
                return None
            call_regions = CallRegions(inputs, outputs, min_bytes=self._min_bytes)
            if outputs is not None:
                request = request._replace(parameters={**request.parameters, OUTPUT_REGION: outputs.name})
            encoded = self._core.encode(request, call_regions)
            began_s = time.perf_counter()
            try:
                answer = yield Operation("ModelInfer", encoded.message, bytes)
            except _REFUSED as error:
                # The server has responded, so it no longer uses the memory.
                negotiation.release(held)
                negotiation.handle_refusal(error)
                return None
            except Unavailable as error:
                retry_after_s = error.retry_after_s
                if self._retry is None or (no_deadline and (retry_after_s or 0.0) > MAX_RETRY_AFTER_S):
                    raise
                jitter_s = random.uniform(0, 2 * self._retry.initial_backoff_s)  # noqa: S311  # not for secrets
                yield jitter_s if retry_after_s is None else retry_after_s
                return None
            try:
                call_s = time.perf_counter() - began_s
                result = self._core.decode(answer, encode_s=encoded.encode_s, call_s=call_s, call_regions=call_regions)
            finally:
                if call_regions.outputs_view is not None and outputs is not None:
                    negotiation.release_with_view(call_regions.outputs_view, outputs, held)
                negotiation.release(held)
            self.record_response_size(request.model, call_regions.output_bytes + len(answer))
            return result
        finally:
            # The server may still use what is left in the list.
            negotiation.discard(held)

    def close(self) -> None:
        """Release the memory. Results that are views of it stay valid."""
        self._negotiation.close()

    def _input_bytes(self, values: Iterable[Any]) -> int:
        """Bytes that the large inputs occupy in a region."""
        sizes = [getattr(value, "nbytes", 0) for value in values]
        return sum(aligned(size) for size in sizes if size >= self._min_bytes)


def make_shm_protocol(
    options: Share | None, core: Core, target: str, *, retry: Retry | None, hedge: Hedge | None
) -> ShmProtocol | None:
    """The shared-memory transfer of a client; None = it never uses shared memory."""
    # A hedged call runs twice, and each server registers regions of its own.
    if options is None or hedge is not None or not (options.any_address or is_same_host(target)):
        return None
    return ShmProtocol(options, core, retry)
