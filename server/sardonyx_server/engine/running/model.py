"""One loaded version of one model: its sessions, its queue and the threads that run its batches."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.job import Job, split
from sardonyx_server.engine.batching.queue import BatchQueue
from sardonyx_server.engine.call import InterceptedCall
from sardonyx_server.engine.response_cache.single_flight import SharedJob, VersionCache
from sardonyx_server.engine.running.deferred_close import close_when_idle
from sardonyx_server.engine.running.execution import ReplyHandoff, run_batch
from sardonyx_server.engine.running.ordering import ReorderBuffer
from sardonyx_server.engine.telemetry.counters import Counters
from sardonyx_server.engine.telemetry.failures import Failures
from sardonyx_server.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sardonyx_server.engine.batching.batch import Batch
    from sardonyx_server.engine.batching.policy import BatchPolicy
    from sardonyx_server.engine.call import Call
    from sardonyx_server.engine.requests.plan import Plan, Tensor
    from sardonyx_server.engine.requests.signature import Signature
    from sardonyx_server.engine.response_cache.cache import ResponseCache
    from sardonyx_server.engine.running.lane_thread import LaneThread
    from sardonyx_server.engine.running.model_info import ModelInfo
    from sardonyx_server.engine.session import Session
    from sardonyx_server.engine.telemetry.tracing import Trace
    from sardonyx_wire.messages import ModelConfig
    from sardonyx_wire.tensors import TensorSpec

__all__ = ["Model"]

_LOG = logging.getLogger("sardonyx.engine")


class Model:
    """One model version that is ready to serve.

    Args:
        signature: Validates its requests.
        sessions: One for each instance; each runner uses one of them. A CPU session is shared by all its runners.
        latency_session: Session with a thread on each core, for requests that arrive one at a time; None where there
            is none.
        policy: Batching and queue limits.
        budget: The server's limit on pending bytes.
        info: Facts recorded at load.
        lane: The lane's thread; None where there is no lane.
        response_cache: The server's response cache; None where this model does not use it.
        on_runner_lost: Called on a runner's thread if its loop itself fails, which is a bug.

    Attributes:
        inline: Whether the lane runs all its batches.
        lane_batch_is_short: Whether what the lane may run of a model with runners takes no longer than a batch of an
            inline model, so that it runs there while other models get requests, too.
        counters: Counters of answers, one for each thread that answers.
        failures: Counters of errors.
    """

    def __init__(  # noqa: PLR0913 -- everything determined at load
        self,
        *,
        signature: Signature,
        sessions: Sequence[Session],
        latency_session: Session | None = None,
        policy: BatchPolicy,
        budget: ByteBudget,
        info: ModelInfo,
        lane: LaneThread | None,
        response_cache: ResponseCache | None = None,
        on_runner_lost: Callable[[Exception], None],
    ) -> None:
        self.name = signature.model_name
        self.version = signature.version
        self.signature = signature
        self.info = info
        self.inline = info.runners == 0
        self.lane_batch_is_short = not policy.dynamic_batching
        self.failures = Failures()
        self.queue = BatchQueue(
            self.name,
            policy,
            budget,
            failures=self.failures,
            seconds_per_row=(info.verdict.seconds(policy.max_rows) or 0.0) / policy.max_rows,
        )
        self._sessions = tuple(sessions)
        self._latency_session = latency_session
        self._policy = policy
        self._reorder_buffer = ReorderBuffer() if policy.preserve_ordering else None
        self._on_runner_lost = on_runner_lost
        self._inline_lock = threading.Lock()
        # With preserve_ordering, runners send the answers themselves: these may have to wait for earlier ones.
        self._lane = lane
        self._handoff: ReplyHandoff | None = None
        if lane is not None and self._reorder_buffer is None:
            self._handoff = ReplyHandoff(lane.call_soon, self.failures)
        runners = tuple(Counters(self.failures) for _ in range(info.runners))
        self._cache: VersionCache | None = None
        if response_cache is not None:
            self._cache = VersionCache(response_cache, self.queue, self._split, self.failures)
        self._lane_counters = Counters(self.failures) if self._handoff is None else self._handoff.counters
        self.counters = (
            *runners,
            self._lane_counters,
            *(() if self._cache is None else (self._cache.counters,)),
        )
        self._threads = tuple(
            threading.Thread(target=self._run, args=(index,), name=f"runner-{self.name}-{index}", daemon=True)
            for index in range(info.runners)
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
        return self.info.config

    @property
    def pending_requests(self) -> int:
        """Pending requests, including those of which only a part still waits."""
        return self.queue.requests

    @property
    def has_full_microbatch(self) -> bool:
        """Whether enough rows wait for an efficient batch, so that a runner need not wait for the rest of a burst."""
        return self.queue.rows >= self._policy.microbatch_rows

    def start(self) -> None:
        """Start the runners. Once."""
        for thread in self._threads:
            thread.start()

    def reserve(self, plan: Plan, deadline_s: float, message_bytes: int) -> Callable[[], None] | None:
        """Check a request whose message is still being received, and reserve a slot in the queue. Never blocks.

        Returns:
            Releases the slot; to be called when the request has arrived or will not arrive. None = no slot is needed.

        Raises:
            Overloaded: A bound of the queue is reached, or the answer would come after the deadline.
            QueueClosed: This version is draining.
        """
        # A cache hit needs no slot in the queue.
        if self._cache is not None or plan.signature is not self.signature:
            return None
        reservation = self.queue.reserve(plan, deadline_s, message_bytes)
        return None if reservation is None else partial(self.queue.release, reservation)

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
        """Admit a validated request. Never blocks. It runs after the next :meth:`run_waiting` or ``queue.wake``.

        ``received_s`` is when the request arrived, on ``time.monotonic``; None = now.

        Raises:
            Overloaded: A bound of the queue is reached. The call is not answered.
            QueueClosed: This version is draining; look the model up again. The call is not answered.
        """
        reorder_buffer, slot = self._reorder_buffer, None
        if reorder_buffer is not None:
            slot = reorder_buffer.reserve()
            call = InterceptedCall(call, slot)
        cache = self._cache
        job_type = Job if cache is None else SharedJob
        job = job_type(call, plan, plan.rows, tensors, id_field, message_bytes)
        if trace is not None:
            job.trace = trace
            trace.version, trace.rows = self.version, plan.rows
        try:
            if cache is None:
                self.queue.put((job,) if plan.rows <= self._policy.max_rows else self._split(job), received_s)
            else:
                cache.submit(job, received_s)  # type: ignore[arg-type]  # a SharedJob where there is a cache
        except Exception:
            if reorder_buffer is not None and slot is not None:
                reorder_buffer.cancel(slot)
            raise

    def _split(self, job: Job) -> Sequence[Job]:
        """Return the job itself, or its parts where it has more rows than a batch may have."""
        policy = self._policy
        max_rows = max(policy.max_rows, policy.batch_rows_limit(deferred_reads=job.plan.bucket.deferred_reads))
        if job.rows <= max_rows or not policy.has_batch_axis:
            return (job,)
        return split(job, max_rows)

    def run_waiting(self) -> None:
        """Run pending jobs on the calling thread: all of an inline model, else those for the lane. Blocks meanwhile."""
        with self._inline_lock:
            self._run_pending()

    def _run_pending(self) -> None:
        """Requires: the inline lock is held."""
        while self.queue.rows and (batch := self._next_inline_batch()) is not None:
            began_s = time.monotonic()
            run_batch(self._sessions[0], batch, self._lane_counters)
            self.queue.finish(time.monotonic() - began_s, batch.rows)

    def _next_inline_batch(self) -> Batch | None:
        return self.queue.take(wait=False) if self.inline else self.queue.take_for_lane()

    def drain(self, timeout_s: float, *, while_serving: bool = True) -> bool:
        """Admit no more requests, finish those admitted, and close the sessions. Blocks. Once, on its own thread.

        Args:
            timeout_s: How long the admitted requests may take.
            while_serving: Whether other models are served meanwhile.

        Returns:
            Whether the model answered all admitted requests in time. Otherwise the pending ones were failed and the
            batches in flight terminated.
        """
        self.queue.close()
        until_s = time.monotonic() + timeout_s
        # A batch that runs on the lane may not finish in time either.
        if finished := self._inline_lock.acquire(timeout=max(0.0, timeout_s)):
            try:
                self._run_pending()
            finally:
                self._inline_lock.release()
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        finished = finished and not any(thread.is_alive() for thread in self._threads)
        if not finished:
            # Before terminate(), or a runner whose run is terminated would start the next batch.
            self.queue.fail_pending(
                ModelUnavailable(
                    f"model '{self.name}' version {self.version} was stopped before the request ran; retry"
                )
            )
            for session in self._all_sessions:
                # For good: the jobs of a terminated batch are retried singly, and one of them may be what does not end.
                session.terminate(for_good=True)
        else:
            for session in self._all_sessions:
                close_when_idle(session.close, self._lane if while_serving else None)
        if self._cache is not None:
            self._cache.close()
        return finished

    @property
    def _all_sessions(self) -> tuple[Session, ...]:
        return self._sessions if self._latency_session is None else (*self._sessions, self._latency_session)

    def _run(self, index: int) -> None:
        """Body of a runner thread."""
        session = self._sessions[index % len(self._sessions)]
        latency_session = self._latency_session or session
        counters = self.counters[index]
        try:
            while (batch := self.queue.take(wait=True)) is not None:
                began_s = time.monotonic()
                run_batch(latency_session if batch.exclusive else session, batch, counters, self._handoff)
                if self.queue.finish(time.monotonic() - began_s, batch.rows) and self._lane is not None:
                    self._lane.notify_pending(self)
                del batch  # Otherwise the last batch would stay in memory while the runner waits.
        except Exception as error:  # noqa: BLE001  # logged with its traceback; the process is told to end
            _LOG.exception("bug: the loop of a runner failed")
            self._on_runner_lost(error)
