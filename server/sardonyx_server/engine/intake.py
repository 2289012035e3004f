"""The way in of every inference: bytes of a request -> a job in its model's queue, or an answer that says why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.queue import QueueClosed
from sardonyx_server.engine.counting.sampling import NoTracing
from sardonyx_server.engine.counting.tracing import TracedCall
from sardonyx_server.engine.shared_memory.region import shared_memory_is_off
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.requests import MalformedMessage, RequestReader

if TYPE_CHECKING:
    from sardonyx_server.engine.call import Call, Refused
    from sardonyx_server.engine.counting.tracing import Trace, Tracer
    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.engine.shared_memory.region import FindRegion
    from sardonyx_wire.requests import Header

__all__ = ["Intake"]

# A version may be replaced between look-up and admission; twice in a row is a reload storm: the caller retries.
_LOOK_UPS: Final = 3


class Intake:
    """Takes requests in. Not thread-safe: one for each thread that reads requests.

    Args:
        registry: Where the models are.
        find_region: Finds the regions of shared memory that requests name.
        tracer: Who chooses the requests that are traced; None chooses none.
        transport: What brings the requests, for their traces.
    """

    __slots__ = ("_find_region", "_given_inline", "_given_runners", "_reader", "_registry", "_tracer", "_transport")

    def __init__(
        self,
        registry: Registry,
        *,
        find_region: FindRegion = shared_memory_is_off,
        tracer: Tracer | None = None,
        transport: str = "",
    ) -> None:
        self._registry = registry
        self._find_region = find_region
        self._tracer: Tracer = tracer or NoTracing()
        self._transport = transport
        self._reader = RequestReader()
        self._given_inline: dict[Model, None] = {}
        self._given_runners: dict[Model, None] = {}

    def accept(self, message: bytes | memoryview, call: Call, received_s: float | None = None) -> None:
        """Take one request in. Never blocks and never raises; the call is answered now or later, once.

        After some calls of it, :meth:`run_waiting` sets the models to work.

        Args:
            message: A serialised ``ModelInferRequest``; kept alive by views until the answer.
            call: Who waits.
            received_s: When it came, on ``time.monotonic``; None = now.
        """
        if received_s is None:
            received_s = time.monotonic()
        try:
            header, id_field, payloads = self._reader.decode(message)
            trace = None
            if self._tracer.on:
                trace = self._tracer.begin(header.route[0], call, id_field, received_s, self._transport)
                if trace is not None:
                    call = TracedCall(call, trace)
            self._submit(header, id_field, payloads, call, len(message), received_s, trace)
        except MalformedMessage as error:
            self.refuse(InvalidRequest(str(error), field=error.field, reason="MALFORMED_MESSAGE"), call)
        except Exception as error:  # noqa: BLE001  # what a request causes is its answer, not the lane's end
            self.refuse(error, call)

    def refuse(self, error: Exception, call: Refused) -> None:
        """Answer a request that belongs to no model, and count it."""
        self._registry.refusals.count(error, streamed=call.streamed)
        call.fail(error)

    def run_waiting(self) -> None:
        """Set the models to work on what they were given since the last time. Blocks while inline models run."""
        given = self._given_runners
        while given:
            given.popitem()[0].queue.wake()
        given = self._given_inline
        while given:
            given.popitem()[0].run_waiting()

    def begin(self) -> None:
        """Wake runners whose model has been given enough for a batch already, although more may come. Never blocks."""
        for model in [model for model in self._given_runners if model.has_enough]:
            del self._given_runners[model]
            model.queue.wake()

    def _submit(
        self,
        header: Header,
        id_field: bytes,
        payloads: list[memoryview],
        call: Call,
        message_bytes: int,
        received_s: float,
        trace: Trace | None,
    ) -> None:
        """Find the model, check the request, queue it."""
        watched = False
        for attempt in range(1, _LOOK_UPS + 1):
            model = self._registry.find(header.route)
            try:
                plan, tensors = model.signature.check(header, payloads, self._find_region)
                if model.inline:
                    self._given_inline[model] = None
                else:
                    self._given_runners[model] = None
                    if not watched:
                        call.watch()
                        watched = True
                # What was read from shared memory waits in memory as the message does.
                model.submit(call, plan, tensors, id_field, message_bytes + plan.region_bytes, received_s, trace)
            except Exception as error:  # noqa: BLE001  # likewise
                if isinstance(error, QueueClosed) and attempt < _LOOK_UPS:
                    continue
                model.failures.count(error, streamed=call.streamed)
                call.fail(error)
            return
        raise AssertionError("bug: the last look-up neither submitted nor raised")
