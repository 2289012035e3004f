"""Requests on their way through the engine, by hand: a call that records its answer, a model made of a function.

Sessions that follow a graph are in sessions.py. Nothing here opens a socket or waits on a clock.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.job import Job
from sardonyx_server.engine.batching.policy import BatchPolicy, QueuePolicy
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.engine.profiling.verdict import CurvePoint, Verdict
from sardonyx_server.engine.requests.parameters import RequestParameters
from sardonyx_server.engine.requests.plan import Bucket, Plan, Tensor
from sardonyx_server.engine.requests.signature import Signature
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.running.model import Model
from sardonyx_server.engine.running.model_info import ModelInfo
from sardonyx_server.engine.session import Session
from sardonyx_server.engine.shared_memory.region import FindRegion, shared_memory_is_off
from sardonyx_server.engine.telemetry.counters import Counters
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_wire.datatypes import DATATYPES
from sardonyx_wire.messages import ModelConfig, ModelInferRequest, ModelInferResponse
from sardonyx_wire.protobuf_fields import EncodedMessage
from sardonyx_wire.request_reader import Header, RequestReader
from sardonyx_wire.tensors import TensorSpec, decode_raw, encode_raw

Array = NDArray[Any]
Answer = Callable[[Mapping[str, Array]], list[Array]]

# Far more than any test takes: only a bug makes a wait last as long.
PATIENCE_S = 60.0


class FakeCall:
    """A caller. Counts its answers, for there must be exactly one."""

    def __init__(self, *, deadline_s: float = math.inf, streamed: bool = False) -> None:
        self.deadline_s = deadline_s
        self.streamed = streamed
        self.cancelled = False
        self.metadata: Sequence[tuple[str, str | bytes]] = ()
        self.watched = 0
        self.replies: list[bytes] = []
        self.errors: list[Exception] = []
        self._done = threading.Event()

    def peer(self) -> str:
        """Nobody in particular."""
        return "ipv4:127.0.0.1:1"

    def watch(self) -> None:
        """Count it."""
        self.watched += 1

    def reply(self, message: EncodedMessage) -> None:
        """Keep the answer."""
        self.replies.append(bytes(message))
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Keep the error."""
        self.errors.append(error)
        self._done.set()

    @property
    def answers(self) -> int:
        """How often it was answered."""
        return len(self.replies) + len(self.errors)

    @property
    def error(self) -> Any:
        """The one error it was answered with."""
        assert not self.replies
        assert len(self.errors) == 1
        return self.errors[0]

    @property
    def response(self) -> ModelInferResponse:
        """The one response it was answered with."""
        assert not self.errors, self.errors
        assert len(self.replies) == 1
        return ModelInferResponse.FromString(self.replies[0])

    @property
    def arrays(self) -> list[Array]:
        """Outputs of the one response."""
        response = self.response
        assert len(response.outputs) == len(response.raw_output_contents)
        return [
            decode_raw(DATATYPES[output.datatype], tuple(output.shape), data)
            for output, data in zip(response.outputs, response.raw_output_contents, strict=True)
        ]

    def wait(self) -> None:
        """Wait for the answer, which another thread gives."""
        assert self._done.wait(PATIENCE_S), "no answer"


class BrokenCall(FakeCall):
    """A call whose transport raises at each answer."""

    def reply(self, message: EncodedMessage) -> None:
        """Raise."""
        raise RuntimeError("the transport is gone")

    def fail(self, error: Exception) -> None:
        """Raise."""
        raise RuntimeError("the transport is gone")


class FakeSession:
    """A model made of a function that only hears of names and arrays; keeps what it was given."""

    provider = "CPUExecutionProvider"
    threads = 1

    inputs = outputs = ()

    def __init__(self, answer: Answer) -> None:
        self.runs: list[dict[str, Array]] = []
        self.names: list[tuple[str, ...]] = []
        self.closed = 0
        self.terminated = 0
        self.for_good = False
        self.on_terminate: Callable[[], None] = lambda: None
        self._answer = answer

    def run(self, output_names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Keep the feeds and answer."""
        self.names.append(tuple(output_names))
        self.runs.append(dict(feeds))
        return self._answer(feeds)

    def terminate(self, *, for_good: bool = False) -> None:
        """Count it, and let the test look."""
        self.terminated += 1
        self.for_good = for_good
        self.on_terminate()

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def spec(name: str, datatype: str = "FP32", shape: tuple[int, ...] | None = (-1, 2), **more: Any) -> TensorSpec:
    """A TensorSpec in few words."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, **more)


def signature(
    *inputs: TensorSpec,
    outputs: Sequence[TensorSpec] = (),
    has_batch_axis: bool = True,
    name: str = "m",
    version: int = 1,
    separate_deferred_reads: bool = False,
    max_rows: int = 0,
) -> Signature:
    """The signature of model 'm': x FP32 [-1,2] -> y FP32 [-1,2] where nothing else is said."""
    return Signature(
        model_name=name,
        version=version,
        inputs=inputs or (spec("x"),),
        outputs=tuple(outputs) or (spec("y"),),
        has_batch_axis=has_batch_axis,
        separate_deferred_reads=separate_deferred_reads,
        max_rows=max_rows,
    )


def message(
    arrays: Mapping[str, Array],
    *,
    model: str = "m",
    version: str = "",
    request_id: str = "",
    outputs: Sequence[str] = (),
    datatypes: Mapping[str, str] | None = None,
    **parameters: int | str | bool,
) -> ModelInferRequest:
    """A request with raw contents, as a client sends it."""
    request = ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, array in arrays.items():
        datatype = (datatypes or {}).get(name) or datatype_of(array)
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(bytes(encode_raw(DATATYPES[datatype], array)))
    for name in outputs:
        request.outputs.add(name=name)
    for key, value in parameters.items():
        if isinstance(value, bool):
            request.parameters[key].bool_param = value
        elif isinstance(value, int):
            request.parameters[key].int64_param = value
        else:
            request.parameters[key].string_param = value
    return request


def one_input(
    shape: tuple[int, ...], data: bytes = b"", *, name: str = "x", datatype: str = "FP32"
) -> ModelInferRequest:
    """A request of one input."""
    request = ModelInferRequest(model_name="m")
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(data)
    return request


def datatype_of(array: Array) -> str:
    """The datatype whose dtype this is."""
    return next(name for name, datatype in DATATYPES.items() if datatype.dtype == array.dtype)


def decode(request: ModelInferRequest) -> tuple[Header, bytes, list[memoryview]]:
    """What the wire reader makes of a request."""
    return RequestReader().decode(request.SerializeToString())


def check(
    of: Signature, request: ModelInferRequest, find_region: FindRegion = shared_memory_is_off
) -> tuple[Plan, Sequence[Tensor]]:
    """What the signature makes of a request."""
    header, _, payloads = decode(request)
    return of.check(header, payloads, find_region)


def job(
    of: Signature,
    request: ModelInferRequest,
    call: FakeCall | None = None,
    find_region: FindRegion = shared_memory_is_off,
) -> Job:
    """A request as it enters the queue."""
    encoded = request.SerializeToString()
    header, id_field, payloads = RequestReader().decode(encoded)
    plan, tensors = of.check(header, payloads, find_region)
    return Job(call or FakeCall(), plan, plan.rows, tensors, id_field, len(encoded))


def call_of(one: Job) -> FakeCall:
    """The caller of a job that this module made."""
    assert isinstance(one.call, FakeCall)
    return one.call


def rows_of(start: int, rows: int) -> Array:
    """Array x [rows, 2]: row i is [start + i, -(start + i)], so that every row tells whose it is."""
    first = np.arange(start, start + rows, dtype=np.float32)
    return np.stack([first, -first], axis=1)


class QueuedRequests:
    """Jobs without data, of three kinds that may not join, for tests of the queue alone.

    Args:
        deferred_reads: Whether the inputs lie in shared memory.
    """

    def __init__(self, *, deferred_reads: bool = False) -> None:
        self._signature = signature()
        self.buckets = [
            Bucket(feeds=(), output_names=("y",), has_batch_axis=True, deferred_reads=deferred_reads) for _ in range(3)
        ]

    def job(
        self,
        rows: int = 1,
        *,
        bucket: int = 0,
        priority: int = 0,
        timeout_s: float = math.inf,
        deadline_s: float = math.inf,
        size: int = 10,
        requests: int = 1,
    ) -> Job:
        """A job of that many rows and bytes; of no request where it is a part that others follow."""
        plan = Plan(
            signature=self._signature,
            bucket=self.buckets[bucket],
            rows=rows,
            order=(),
            payload_bytes=[],
            parameters=RequestParameters(priority=priority, timeout_s=timeout_s),
        )
        made = Job(FakeCall(deadline_s=deadline_s), plan, rows, (), b"", size)
        made.requests = requests
        return made


def policy(
    *,
    max_rows: int = 8,
    dynamic_batching: bool = True,
    levels: Mapping[int, QueuePolicy] | None = None,
    queue_rows: int = 1000,
    queue_bytes: int = 10**6,
    **more: Any,
) -> BatchPolicy:
    """A policy of which a test names what it is about."""
    return BatchPolicy(
        has_batch_axis=more.pop("has_batch_axis", True),
        max_rows=max_rows,
        microbatch_rows=more.pop("microbatch_rows", max_rows),
        dynamic_batching=dynamic_batching,
        levels=levels or {1: QueuePolicy()},
        queue_rows=queue_rows,
        queue_bytes=queue_bytes,
        **more,
    )


class HandClock:
    """Time that passes only where a test lets it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Now, in seconds."""
        return self.now_s


def queue_of(
    of: BatchPolicy | None = None,
    *,
    budget: ByteBudget | None = None,
    clock: HandClock | None = None,
    seconds_per_row: float = 0.0,
) -> BatchQueue:
    """The queue of model 'm'."""
    return BatchQueue(
        "m",
        of or policy(),
        budget or ByteBudget(10**6),
        failures=Failures(),
        clock=clock or HandClock(),
        seconds_per_row=seconds_per_row,
    )


def info(*, runners: int, file_bytes: int = 1_000) -> ModelInfo:
    """What a load would have found out."""
    verdict = Verdict(batchable=True, reason="made up", curve=(CurvePoint(rows=1, seconds=0.001),))
    return ModelInfo(
        config=ModelConfig(name="m"),
        verdict=verdict,
        provider="CPUExecutionProvider",
        provider_reason="made up",
        provider_nodes={},
        runners=runners,
        runners_reason="made up",
        threads=1,
        remembered=False,
        load_s=0.5,
        file_bytes=file_bytes,
        warnings=(),
    )


def model_of(  # noqa: PLR0913 -- a test says what it is about
    session: Session | FakeSession,
    *,
    of: Signature | None = None,
    runners: int = 0,
    latency_session: FakeSession | None = None,
    batching: BatchPolicy | None = None,
    budget: ByteBudget | None = None,
    response_cache: ResponseCache | None = None,
    lost: list[Exception] | None = None,
    lane: HandLane | None = None,
) -> Model:
    """Model 'm' on that session; inline where it has no runners, with a cache where one is given. Not started."""
    return Model(
        signature=of or signature(),
        sessions=(session,),
        latency_session=latency_session,
        policy=batching or policy(),
        budget=budget or ByteBudget(10**6),
        info=info(runners=runners),
        lane=lane,
        response_cache=response_cache,
        on_runner_lost=([] if lost is None else lost).append,
    )


def doubling() -> FakeSession:
    """A model of y = 2 x."""
    return FakeSession(lambda feeds: [feeds["x"] * 2])


def publish(registry: Registry, model: Any, *, name: str = "m", version: int = 1) -> None:
    """Make a version ready."""
    registry.set_version(name, VersionStatus(number=version, state=State.READY, model=model))


def new_counters() -> Counters:
    """Counters of a runner that has done nothing."""
    return Counters(Failures())


class HandLane:
    """A lane whose thread is the test's: it does what it has been given when it is told to.

    Attributes:
        offered: Models to look at.
    """

    def __init__(self) -> None:
        self._tasks: deque[Callable[[], None]] = deque()
        self.offered: deque[Model] = deque()
        self._spare: list[Callable[[], None]] = []

    def call_when_idle(self, task: Callable[[], None], /) -> None:
        """Keep it."""
        self._spare.append(task)

    def cancel_idle_call(self, task: Callable[[], None], /) -> bool:
        """Give it back."""
        if task not in self._spare:
            return False
        self._spare.remove(task)
        return True

    def answered(self) -> None:
        """Do what was to be done when somebody has been answered."""
        while self._spare:
            self._spare.pop()()

    def call_soon(self, task: Callable[[], None], /) -> None:
        """Keep it."""
        self._tasks.append(task)

    def notify_pending(self, model: Model, /) -> None:
        """Keep it."""
        self.offered.append(model)

    def work(self, intake: Intake | None = None) -> None:
        """Do the tasks, and have an intake look at what was offered."""
        while self._tasks:
            self._tasks.popleft()()
        while intake is not None and self.offered:
            intake.notify_pending(self.offered.popleft())


class PromptLane(HandLane):
    """A lane that does each task as it comes."""

    def call_soon(self, task: Callable[[], None], /) -> None:
        """Do it."""
        task()
