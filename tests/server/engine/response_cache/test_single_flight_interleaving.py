"""With a cache or without, in whatever order requests come, run, give up and are replaced: the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.policy import QueuePolicy
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.running.execution import run_batch
from sardonyx_server.engine.running.model import Model
from sardonyx_server.errors import Cancelled, DeadlineExceeded, ExecutionFailed, ModelUnavailable
from sardonyx_wire.messages import ModelInferRequest
from tests.server.engine.doubles import (
    Array,
    FakeCall,
    FakeSession,
    decode,
    message,
    model_of,
    policy,
    signature,
    spec,
)

MAX_ROWS = 4
SIGNATURE = signature(
    spec("x", shape=(-1, 2)),
    spec("t", "BYTES", (-1,)),
    outputs=(spec("y"), spec("u", "BYTES", (-1,)), spec("n", "INT64", (-1,))),
)
# A number that makes the model raise.
POISON = 13.0
# Three entries of some rows: what is kept is forgotten again and again.
SMALL_BYTES = 3 * 2000


def model_session() -> FakeSession:
    """Gives y = 2 x, u = t and n = the length of t; row by row, so that no batch changes an answer."""

    def answer(feeds: Any) -> list[Array]:
        if (feeds["x"] == POISON).any():
            raise ExecutionFailed("poison")
        lengths = np.array([len(text) for text in feeds["t"]], np.int64)
        return [{"y": feeds["x"] * 2, "u": feeds["t"], "n": lengths}[name] for name in session.names[-1]]

    session = FakeSession(answer)
    return session


def request_of(kind: int, rows: int, outputs: tuple[str, ...], priority: int, name: str) -> ModelInferRequest:
    """One of a few requests, so that equal ones are frequent."""
    x = np.full((rows, 2), POISON if kind == 3 else kind, np.float32)
    x[-1, 0] = -0.0 if kind == 2 else x[-1, 0]
    texts = np.array([f"{kind}{'é' * row}" for row in range(rows)], object)
    return message({"x": x, "t": texts}, outputs=outputs, request_id=name, priority=priority)


class Interleaving(RuleBasedStateMachine):
    """A model with a cache, whose every answer is held against that of one without."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = ResponseCache(SMALL_BYTES)
        self.budget = ByteBudget(10**6)
        self.session = model_session()
        self.plain = model_of(model_session(), of=SIGNATURE, batching=policy(max_rows=MAX_ROWS))
        self.model = self.new_model()
        self.calls: list[tuple[ModelInferRequest, FakeCall]] = []
        self.expected: dict[bytes, bytes] = {}

    def new_model(self) -> Model:
        """A version; what it has kept is its own."""
        levels = {1: QueuePolicy(), 2: QueuePolicy()}
        return model_of(
            self.session,
            of=signature(*SIGNATURE.inputs, outputs=SIGNATURE.outputs),
            batching=policy(max_rows=MAX_ROWS, levels=levels),
            budget=self.budget,
            response_cache=self.kept,
        )

    @rule(
        kind=st.integers(0, 3),
        rows=st.integers(1, 9),
        outputs=st.sampled_from([(), ("y",), ("u", "y"), ("y", "u"), ("n",)]),
        priority=st.integers(0, 2),
        expired=st.booleans(),
        repeat=st.integers(1, 3),
    )
    def ask(self, kind: int, rows: int, outputs: tuple[str, ...], priority: int, expired: bool, repeat: int) -> None:
        """A request comes, perhaps several times; of those the first may have no time left."""
        for index in range(repeat):
            request = request_of(kind, rows, outputs, priority, str(len(self.calls)))
            call = FakeCall(deadline_s=0.0) if expired and not index else FakeCall()
            self.calls.append((request, call))
            submit(self.model, request, call)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A caller goes away, who may have his answer already."""
        if self.calls:
            _, call = data.draw(st.sampled_from(self.calls))
            call.cancelled = True

    @rule()
    def run(self) -> None:
        """All that waits runs."""
        self.model.run_waiting()

    @rule()
    def run_one_batch(self) -> None:
        """One batch runs, the rest waits on."""
        self.model.queue.wake()
        batch = self.model.queue.take(wait=False)
        if batch is not None:
            run_batch(self.session, batch, self.model.counters[0])

    @rule()
    def replace(self) -> None:
        """A new version takes over, the old one drains."""
        old, self.model = self.model, self.new_model()
        assert old.drain(0.0)

    @rule()
    def refuse(self) -> None:
        """The time for draining was over."""
        old, self.model = self.model, self.new_model()
        old.queue.close()
        old.queue.fail_pending(ModelUnavailable("over"))
        assert old.drain(0.0)

    @invariant()
    def every_answer_is_that_of_a_model_without_cache(self) -> None:
        """Bit for bit, once, with the id of its own request; or an error that is its own."""
        for request, call in self.calls:
            assert call.answers <= 1
            if call.replies:
                assert call.replies[0] == self.without_cache(request)
            for error in call.errors:
                assert (
                    (isinstance(error, Cancelled) and call.cancelled)
                    or (isinstance(error, DeadlineExceeded) and call.deadline_s == 0.0)
                    or (isinstance(error, ExecutionFailed) and self.without_cache(request) == b"")
                    or isinstance(error, ModelUnavailable)
                ), error

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        """At every moment."""
        assert self.kept.used_bytes <= SMALL_BYTES

    def without_cache(self, request: ModelInferRequest) -> bytes:
        """The answer of the model without a cache; nothing where it fails."""
        key = request.SerializeToString()
        if key not in self.expected:
            call = FakeCall()
            submit(self.plain, request, call)
            self.plain.run_waiting()
            self.expected[key] = call.replies[0] if call.replies else b""
        return self.expected[key]

    def teardown(self) -> None:
        """Everybody has an answer, and nothing is left."""
        self.model.run_waiting()
        assert all(call.answers == 1 for _, call in self.calls)
        self.every_answer_is_that_of_a_model_without_cache()
        assert self.budget.used_bytes == 0
        assert self.model.pending_requests == 0
        assert self.model.drain(0.0)
        assert (len(self.kept), self.kept.used_bytes) == (0, 0)


def submit(model: Model, request: ModelInferRequest, call: FakeCall) -> None:
    """Put a request in as the intake does."""
    encoded = request.SerializeToString()
    header, id_field, payloads = decode(request)
    plan, tensors = model.signature.check(header, payloads)
    model.submit(call, plan, tensors, id_field, len(encoded))


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
