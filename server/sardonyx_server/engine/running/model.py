"""One loaded version of one model: its session, its queue and whoever runs its batches."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from sardonyx_server.engine.batching.budget import ByteBudget
from sardonyx_server.engine.batching.job import Job, split
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.engine.call import AnsweredBy
from sardonyx_server.engine.counting.counters import Counters
from sardonyx_server.engine.counting.failures import Failures
from sardonyx_server.engine.response_cache.single_flight import SharedJob, VersionCache
from sardonyx_server.engine.running.ending import end_session
from sardonyx_server.engine.running.execution import HandBack, run_batch
from sardonyx_server.engine.running.ordering import Order
from sardonyx_server.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.batching.batch import Batch
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.call import Call
    from sardonyx_server.engine.counting.tracing import Trace
    from sardonyx_server.engine.requests.plan import Plan, Tensor
    from sardonyx_server.engine.requests.signature import Signature
    from sardonyx_server.engine.response_cache.cache import ResponseCache
    from sardonyx_server.engine.running.facts import ModelFacts
    from sardonyx_server.engine.running.lane_thread import LaneThread
    from sardonyx_server.engine.session import Session
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Model"]

_LOG = logging.getLogger("sardonyx.engine")


class Model:
    """One version that is ready to run.

    Args:
        signature: Checks its requests.
        sessions: One for each instance; each runner uses one of them. A CPU session is shared by all its runners.
        wide: For a caller that is alone, with a thread on each core; None where there is no such session.
        policy: How it batches.
        budget: The server's bound of bytes that wait.
        facts: For people and metadata.
        lane: The lane's thread; None where there is no lane.
        kept: The server's cache of responses; None where this model has none.
        on_runner_lost: Called on a runner's thread if its loop itself fails, which is a bug.

    Attributes:
        counters: What was answered, by thread.
        failures: What was answered with an error.
    """

    def __init__(  # noqa: PLR0913 -- all that was found for a version
        self,
        *,
        signature: Signature,
        sessions: Sequence[Session],
        wide: Session | None = None,
        policy: BatchPolicy,
        budget: ByteBudget,
        facts: ModelFacts,
        lane: LaneThread | None,
        kept: ResponseCache | None = None,
        on_runner_lost: Callable[[Exception], None],
    ) -> None:
        self.name = signature.model_name
        self.version = signature.version
        self.signature = signature
        self.facts = facts
        self.inline = facts.runners == 0
        self.failures = Failures()
        self.queue = BatchQueue(
            self.name,
            policy,
            budget,
            failures=self.failures,
            seconds_per_row=(facts.verdict.seconds(policy.max_rows) or 0.0) / policy.max_rows,
        )
        self._sessions = tuple(sessions)
        self._wide = wide
        self._policy = policy
        self._order = Order() if policy.preserve_ordering else None
        self._on_runner_lost = on_runner_lost
        self._inline_lock = threading.Lock()
        # Where answers keep their order, the runner gives them: they may have to wait for others.
        self._lane = lane
        self._hand_back = HandBack(lane.later, self.failures) if lane is not None and self._order is None else None
        runners = tuple(Counters(self.failures) for _ in range(facts.runners))
        self._cache = VersionCache(kept, self.queue, self._cut, self.failures) if kept is not None else None
        self._lane_counters = Counters(self.failures) if self._hand_back is None else self._hand_back.counters
        self.counters = (
            *runners,
            self._lane_counters,
            *(() if self._cache is None else (self._cache.counters,)),
        )
        self._threads = tuple(
            threading.Thread(target=self._run, args=(index,), name=f"runner-{self.name}-{index}", daemon=True)
            for index in range(facts.runners)
        )

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """In graph order."""
        return self.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In graph order."""
        return self.signature.outputs

    @property
    def config(self) -> ModelConfig:
        """Effective ModelConfig."""
        return self.facts.config

    @property
    def pending_requests(self) -> int:
        """Requests that wait, or of which a part still does."""
        return self.queue.requests

    @property
    def has_enough(self) -> bool:
        """Whether what waits makes a batch that pays, so that a runner need not wait for the rest of a burst."""
        return self.queue.rows >= self._policy.piece_rows

    def start(self) -> None:
        """Start the runners. Once."""
        for thread in self._threads:
            thread.start()

    def foresee(self, plan: Plan, deadline_s: float, message_bytes: int) -> Callable[[], None] | None:
        """Raise as :meth:`submit` would for a request that is still on its way, as far as that is known. Never blocks.

        Returns:
            To be called when it has come, or will not come; None where there is no need for that.

        Raises:
            Overloaded: A bound of the queue is reached, or the request would wait beyond its deadline.
            QueueClosed: This version drains.
        """
        # What the cache has needs no place in the queue.
        if self._cache is not None or plan.signature is not self.signature:
            return None
        place = self.queue.foresee(plan, deadline_s, message_bytes)
        return None if place is None else partial(self.queue.give_up, place)

    def submit(
        self,
        call: Call,
        plan: Plan,
        tensors: Sequence[Tensor],
        id_field: bytes,
        message_bytes: int,
        received_s: float | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Admit a checked request. Never blocks. The call is answered after a ``run_waiting`` or ``queue.wake``.

        ``received_s`` is when it came, on ``time.monotonic``; None = now.

        Raises:
            Overloaded: A bound of the queue is reached; the call is not answered.
            QueueClosed: This version drains; look the model up again. The call is not answered.
        """
        order, place = self._order, None
        if order is not None:
            place = order.enter()
            call = AnsweredBy(call, place)
        cache = self._cache
        kind = Job if cache is None else SharedJob
        job = kind(call, plan, plan.rows, tensors, id_field, message_bytes)
        if trace is not None:
            job.trace = trace
            trace.version, trace.rows = self.version, plan.rows
        try:
            if cache is None:
                self.queue.put((job,) if plan.rows <= self._policy.max_rows else self._cut(job), received_s)
            else:
                cache.submit(job, received_s)  # type: ignore[arg-type]  # it is one where there is a cache
        except Exception:
            if order is not None and place is not None:
                order.leave(place)
            raise

    def _cut(self, job: Job) -> Sequence[Job]:
        """What goes into the queue for a job: itself, or parts that are no larger than a batch may be."""
        policy = self._policy
        most = max(policy.max_rows, policy.shared_rows(unread=job.plan.bucket.unread))
        if job.rows <= most or not policy.has_batch_axis:
            return (job,)
        return split(job, most)

    def run_waiting(self) -> None:
        """Run what waits on the calling thread: all of an inline model, else what is the lane's. Blocks meanwhile."""
        with self._inline_lock:
            self._run_here()

    def _run_here(self) -> None:
        """Has the lock."""
        while self.queue.rows and (batch := self._next_here()) is not None:
            began_s = time.monotonic()
            run_batch(self._sessions[0], batch, self._lane_counters)
            self.queue.took(time.monotonic() - began_s, batch.rows)

    def _next_here(self) -> Batch | None:
        return self.queue.take(wait=False) if self.inline else self.queue.lend()

    def drain(self, timeout_s: float, *, beside: bool = True) -> bool:
        """Admit nothing more, finish what was admitted, free the session. Blocks. Once, on a thread of its own.

        Args:
            timeout_s: How long what was admitted may take.
            beside: Whether other models are served meanwhile.

        Returns:
            Whether all that was admitted got its answer from the model. What did not in time was refused, and runs that
            were still under way were ended.
        """
        self.queue.close()
        until_s = time.monotonic() + timeout_s
        # What runs on the lane may not end, either.
        if finished := self._inline_lock.acquire(timeout=max(0.0, timeout_s)):
            try:
                self._run_here()
            finally:
                self._inline_lock.release()
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        finished = finished and not any(thread.is_alive() for thread in self._threads)
        if not finished:
            # First of all, or a runner whose run is ended would begin with the next batch.
            self.queue.refuse_waiting(
                ModelUnavailable(
                    f"model '{self.name}' version {self.version} was stopped before the request ran; retry"
                )
            )
            for session in self._every_session:
                # For good: members of a batch that is ended run singly, and one of them may be what does not end.
                session.terminate(for_good=True)
        else:
            for session in self._every_session:
                end_session(session.close, self._lane if beside else None)
        if self._cache is not None:
            self._cache.close()
        return finished

    @property
    def _every_session(self) -> tuple[Session, ...]:
        return self._sessions if self._wide is None else (*self._sessions, self._wide)

    def _run(self, index: int) -> None:
        """Body of a runner's thread."""
        session = self._sessions[index % len(self._sessions)]
        wide = self._wide or session
        counters = self.counters[index]
        try:
            while (batch := self.queue.take(wait=True)) is not None:
                began_s = time.monotonic()
                run_batch(wide if batch.wide else session, batch, counters, self._hand_back)
                if self.queue.took(time.monotonic() - began_s, batch.rows) and self._lane is not None:
                    self._lane.offer(self)
                del batch  # A batch in this variable while the runner waits would keep its messages in memory.
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the loop of a runner failed")
            self._on_runner_lost(error)
