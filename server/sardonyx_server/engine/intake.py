"""The way in of every inference: bytes of a request -> a job in its model's queue, or an answer that says why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.call import AnsweredBy
from sardonyx_server.engine.counting.sampling import NoTracing
from sardonyx_server.engine.requests.plan import Plan
from sardonyx_server.engine.shared_memory.region import shared_memory_is_off
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.request_reader import MalformedMessage, RequestReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.engine.call import Call, Refused
    from sardonyx_server.engine.counting.tracing import Trace, Tracer
    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.engine.shared_memory.region import FindRegion
    from sardonyx_wire.request_reader import Header

__all__ = ["Intake"]

# A version may be replaced between look-up and admission; twice in a row is a reload storm: the caller retries.
# Of each look-up: whether it is the last.
_LOOK_UPS: Final = (False, False, True)
# For how long no other model must have been asked before the lane runs short batches of a model with runners.
_ALONE_S: Final = 0.1
# Requests to names that the tracer does not know are not passed over.
_NONE: Final[Iterator[None]] = iter(())


class Intake:
    """Takes requests in. Not thread-safe: one for each thread that reads requests.

    Args:
        registry: Where the models are.
        find_region: Finds the regions of shared memory that requests name.
        tracer: Who chooses the requests that are traced; None chooses none.
        transport: What brings the requests, for their traces.
        clock: ``time.monotonic``.
    """

    __slots__ = (
        *("_registry", "_find_region", "_tracer", "_transport", "_clock", "_reader"),
        *("_given", "_here", "_only", "_since_s"),
    )

    def __init__(
        self,
        registry: Registry,
        *,
        find_region: FindRegion = shared_memory_is_off,
        tracer: Tracer | None = None,
        transport: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._find_region = find_region
        self._tracer: Tracer = tracer or NoTracing()
        self._transport = transport
        self._reader = RequestReader()
        self._clock = clock
        # Models that were given requests since the last time; and those whose requests this thread is to run.
        self._given: dict[Model, None] = {}
        self._here: list[Model] = []
        # The one that alone is asked, and since when.
        self._only: Model | None = None
        self._since_s = 0.0

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
            trace, tracer = None, self._tracer
            # Nearly all are passed over, so that is done here: to ask about each took 0.12 us in place of 0.05
            # (2026-11-26).
            if tracer.on and next(tracer.passed_over.get(header.route[0], _NONE), True):
                trace = tracer.begin(header.route[0], call, id_field, received_s, self._transport)
                if trace is not None:
                    call = AnsweredBy(call, trace)
            self._submit(header, id_field, payloads, call, len(message), received_s, trace)
        except MalformedMessage as error:
            self.refuse(InvalidRequest(str(error), field=error.field, reason="MALFORMED_MESSAGE"), call)
        except Exception as error:  # noqa: BLE001  # what a request causes is its answer, not the lane's end
            self.refuse(error, call)

    def foresee(self, beginning: memoryview, call: Call, message_bytes: int) -> Callable[[], None] | None:
        """Refuse a request whose message is still on its way, where the queue would refuse it. Never blocks or raises.

        Only those that look like one that has come before: of others nobody knows what they ask for.

        Args:
            beginning: Of the message.
            call: Who waits; answered where it is refused.
            message_bytes: Of all of it.

        Returns:
            To be called when the message has come, or will not come; None where there is no need for that.
        """
        header = self._reader.peek_header(beginning)
        if header is None or not isinstance(header.plan, Plan):
            return None
        failures = self._registry.refusals
        try:
            model = self._registry.find(header.route)
            failures = model.failures
            return model.foresee(header.plan, call.deadline_s, message_bytes)
        except QueueClosed:
            pass  # By the time it has come there may be a newer version.
        except Exception as error:  # noqa: BLE001  # what a request causes is its answer, not the lane's end
            failures.count(error, streamed=call.streamed)
            call.fail(error)
        return None

    def refuse(self, error: Exception, call: Refused) -> None:
        """Answer a request that belongs to no model, and count it."""
        self._registry.refusals.count(error, streamed=call.streamed)
        call.fail(error)

    def run_waiting(self) -> None:
        """Set the models to work on what they were given since the last time. Blocks while inline models run."""
        if self._given:
            self.wake()
        here = self._here
        while here:
            here.pop().run_waiting()

    def wake(self) -> None:
        """Wake the runners of models that were given something. Never blocks.

        The first part of :meth:`run_waiting`, for a thread that has something to do in between. A short batch is left
        to the second part, which runs it on this thread; not while other models are asked, whose callers would wait.
        """
        given = self._given
        lends = self._is_only_one()
        while given:
            model, _ = given.popitem()
            if model.inline or (lends and model.queue.lends()):
                self._here.append(model)
            else:
                model.queue.wake()

    def offer(self, model: Model) -> None:
        """Look at what waits for a model at the next :meth:`run_waiting`: its runners have left that to this thread."""
        self._given[model] = None

    def begin(self) -> None:
        """Wake runners whose model has been given enough for a batch already, although more may come. Never blocks."""
        for model in [model for model in self._given if model.has_enough and not model.inline]:
            del self._given[model]
            model.queue.wake()

    def _is_only_one(self) -> bool:
        """Whether what was given is for one model with runners, and has been for some time."""
        only, now_s = next(iter(self._given), None), self._clock()
        if len(self._given) > 1 or only is None or only.inline:
            self._only = None
            return False
        if only is not self._only:
            self._only, self._since_s = only, now_s
        return now_s - self._since_s >= _ALONE_S

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
        for is_last in _LOOK_UPS:
            model = self._registry.find(header.route)
            try:
                plan, tensors = model.signature.check(header, payloads, self._find_region)
                self._given[model] = None
                if not model.inline and not watched:
                    call.watch()
                    watched = True
                # What was read from shared memory waits in memory as the message does.
                model.submit(call, plan, tensors, id_field, message_bytes + plan.region_bytes, received_s, trace)
            except Exception as error:  # noqa: BLE001  # likewise
                if isinstance(error, QueueClosed) and not is_last:
                    continue
                model.failures.count(error, streamed=call.streamed)
                call.fail(error)
            return
        raise AssertionError("bug: the last look-up neither submitted nor raised")
