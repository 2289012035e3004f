"""Entry point of all inference requests: bytes of a message -> a job in its model's queue, or an error answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sardonyx_server.engine.batching.admission import QueueClosed
from sardonyx_server.engine.call import InterceptedCall
from sardonyx_server.engine.requests.plan import Plan
from sardonyx_server.engine.shared_memory.region import shared_memory_is_off
from sardonyx_server.engine.telemetry.sampling import NoTracing
from sardonyx_server.errors import InvalidRequest
from sardonyx_wire.request_reader import MalformedMessage, RequestReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sardonyx_server.engine.call import Call, Rejectable
    from sardonyx_server.engine.models.registry import Registry
    from sardonyx_server.engine.running.model import Model
    from sardonyx_server.engine.shared_memory.region import FindRegion
    from sardonyx_server.engine.telemetry.tracing import Trace, Tracer
    from sardonyx_wire.request_reader import Header

__all__ = ["Intake"]

# A version may be replaced between look-up and admission. One that is replaced three times in a row is being reloaded
# continuously, and the caller must retry. For each attempt: whether it is the last.
_LOOK_UPS: Final = (False, False, True)
# How long a model with runners must have been the only one that gets requests before the lane runs its small batches.
_ONLY_MODEL_S: Final = 0.1
# No request to a name that the tracer does not know is skipped without asking it.
_NO_SKIPS: Final[Iterator[None]] = iter(())


class Intake:
    """Decodes, validates and enqueues requests. Not thread-safe: one for each thread that receives requests.

    Args:
        registry: The models.
        find_region: Finds the shared memory regions that requests name.
        tracer: Samples the requests to trace; None = none are traced.
        transport: Name of the transport, for traces.
        clock: ``time.monotonic``.
    """

    __slots__ = (
        *("_registry", "_find_region", "_tracer", "_transport", "_clock", "_reader"),
        *("_notified", "_to_run", "_only_model", "_only_since_s"),
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
        # Models that got requests since the last wake(), and those whose pending jobs this thread is to run.
        self._notified: dict[Model, None] = {}
        self._to_run: list[Model] = []
        # The only model that gets requests at present, and since when.
        self._only_model: Model | None = None
        self._only_since_s = 0.0

    def accept(self, message: bytes | memoryview, call: Call, received_s: float | None = None) -> None:
        """Accept one request. Never blocks and never raises; the call is answered now or later, exactly once.

        The request runs after the next :meth:`run_waiting`, which may follow several calls of this method.

        Args:
            message: A serialised ``ModelInferRequest``; views keep it alive until the answer.
            call: The call to answer.
            received_s: When the message was complete, on ``time.monotonic``; None = now.
        """
        if received_s is None:
            received_s = time.monotonic()
        try:
            header, id_field, payloads = self._reader.decode(message)
            trace, tracer = None, self._tracer
            # Nearly all requests are not sampled. That is decided here: a call of the tracer for each request took
            # 0.12 us instead of 0.05 (2026-11-26).
            if tracer.on and next(tracer.unsampled.get(header.route[0], _NO_SKIPS), True):
                trace = tracer.begin(header.route[0], call, id_field, received_s, self._transport)
                if trace is not None:
                    call = InterceptedCall(call, trace)
            self._submit(header, id_field, payloads, call, len(message), received_s, trace)
        except MalformedMessage as error:
            self.refuse(InvalidRequest(str(error), field=error.field, reason="MALFORMED_MESSAGE"), call)
        except Exception as error:  # noqa: BLE001  # an error is the request's answer and must not end the lane
            self.refuse(error, call)

    def reserve(self, beginning: memoryview, call: Call, message_bytes: int) -> Callable[[], None] | None:
        """Check admission of a request whose message is still being received, and reserve a slot in its queue.

        Answers the call with an error where the queue would refuse the request. Never blocks and never raises. Only
        requests whose header has been seen before can be checked: of others the rows and the priority are not known.

        Args:
            beginning: The first bytes of the message.
            call: The call; answered if the request is refused.
            message_bytes: Size of the whole message.

        Returns:
            Releases the slot; to be called when the message has arrived or will not arrive. None = no slot is needed.
        """
        header = self._reader.peek_header(beginning)
        if header is None or not isinstance(header.plan, Plan):
            return None
        failures = self._registry.refusals
        try:
            model = self._registry.find(header.route)
            failures = model.failures
            return model.reserve(header.plan, call.deadline_s, message_bytes)
        except QueueClosed:
            pass  # By the time the message is complete there may be a newer version.
        except Exception as error:  # noqa: BLE001  # an error is the request's answer and must not end the lane
            failures.count(error, streamed=call.streamed)
            call.fail(error)
        return None

    def refuse(self, error: Exception, call: Rejectable) -> None:
        """Fail a request that belongs to no model, and count it."""
        self._registry.refusals.count(error, streamed=call.streamed)
        call.fail(error)

    def run_waiting(self) -> None:
        """Have all accepted requests run: wakes runners, and runs inline models here. Blocks while they run."""
        if self._notified:
            self.wake()
        to_run = self._to_run
        while to_run:
            to_run.pop().run_waiting()

    def wake(self) -> None:
        """Wake the runners of models that got requests. Never blocks.

        This is the first part of :meth:`run_waiting`, for a thread that has other work in between. The second part runs
        inline models and small batches on this thread; the latter only if they are as short as those of inline models,
        or no other model gets requests, because those would have to wait.
        """
        notified = self._notified
        is_only_model = self._is_only_model()
        while notified:
            model, _ = notified.popitem()
            if model.inline or ((is_only_model or model.lane_batch_is_short) and model.queue.is_for_lane()):
                self._to_run.append(model)
            else:
                model.queue.wake()

    def notify_pending(self, model: Model) -> None:
        """Consider the pending jobs of a model at the next :meth:`run_waiting`: its runners left them to the lane."""
        self._notified[model] = None

    def wake_early(self) -> None:
        """Wake runners of models that have a full microbatch, while the burst is still arriving. Never blocks."""
        for model in [model for model in self._notified if model.has_full_microbatch and not model.inline]:
            del self._notified[model]
            model.queue.wake()

    def _is_only_model(self) -> bool:
        """Whether a single model with runners gets all requests, and has for some time."""
        only, now_s = next(iter(self._notified), None), self._clock()
        if len(self._notified) > 1 or only is None or only.inline:
            self._only_model = None
            return False
        if only is not self._only_model:
            self._only_model, self._only_since_s = only, now_s
        return now_s - self._only_since_s >= _ONLY_MODEL_S

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
        """Find the model, validate the request, enqueue it."""
        watched = False
        for is_last in _LOOK_UPS:
            model = self._registry.find(header.route)
            try:
                plan, tensors = model.signature.check(header, payloads, self._find_region)
                self._notified[model] = None
                if not model.inline and not watched:
                    call.watch()
                    watched = True
                # Inputs in shared memory count like bytes of the message.
                model.submit(call, plan, tensors, id_field, message_bytes + plan.region_bytes, received_s, trace)
            except Exception as error:  # noqa: BLE001  # as in accept()
                if isinstance(error, QueueClosed) and not is_last:
                    continue
                model.failures.count(error, streamed=call.streamed)
                call.fail(error)
            return
        raise AssertionError("bug: the last look-up neither submitted nor raised")
