"""A queued request, and the parts of one that is split because it is larger than a batch."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from sardonyx_server.engine.requests.outputs import RequestOutputs
from sardonyx_server.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.call import Call
    from sardonyx_server.engine.requests.outputs import Outputs
    from sardonyx_server.engine.requests.plan import Plan, Tensor
    from sardonyx_server.engine.telemetry.counters import Counters
    from sardonyx_server.engine.telemetry.failures import Failures
    from sardonyx_server.engine.telemetry.tracing import Trace
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["Job", "split"]

_LOG = logging.getLogger("sardonyx.engine")


class Job:
    """A validated request in the queue of its model.

    Attributes:
        call: The call to answer. ``call.cancelled`` tells whether its caller has gone away.
        plan: The plan of the request.
        requests: Requests that leave the queue with this job: 1. Of the parts of a split request only the last has 1.
        rows: Rows of this job.
        tensors: In the order of ``plan.bucket.feeds``.
        id_field: Wire bytes of the request's id.
        message_bytes: Bytes that the job keeps in memory while it waits.
        deadline_s: The caller's deadline, on ``time.monotonic``.
        arrived_s: When the request arrived, on ``time.monotonic``; set by the queue.
        expires_s: When its queue timeout is over, on ``time.monotonic``; set by the queue.
        trace: Its trace; None unless the request is sampled. The call ends it.
    """

    __slots__ = (
        "arrived_s",
        "call",
        "deadline_s",
        "expires_s",
        "id_field",
        "message_bytes",
        "plan",
        "requests",
        "rows",
        "tensors",
        "trace",
    )

    answers_call = True
    """Whether this job alone answers its call; False for parts, which do so together."""

    def __init__(
        self,
        call: Call | _SplitRequest,
        plan: Plan,
        rows: int,
        tensors: Sequence[Tensor],
        id_field: bytes,
        message_bytes: int,
    ) -> None:
        self.call = call
        self.plan = plan
        self.requests = 1
        self.rows = rows
        self.tensors = tensors
        self.id_field = id_field
        self.message_bytes = message_bytes
        self.deadline_s = call.deadline_s
        self.arrived_s = 0.0
        self.expires_s = 0.0
        self.trace: Trace | None = None

    def render(self, outputs: Outputs, start: int) -> EncodedMessage:
        """Build the answer from outputs in which this job's rows begin at ``start``."""
        return self.plan.response(self.id_field, outputs.row_shapes, outputs.rows(start, start + self.rows))

    def prepare(self, outputs: Outputs, start: int, counters: Counters) -> EncodedMessage | None:
        """Build and count the answer, from outputs of a run in which this job's rows begin at ``start``. Any thread.

        The answer is counted before it is sent, so that a caller that has it finds it in the statistics.

        Returns:
            The message to reply to :attr:`call` with; None where this job does not answer the call, or already has.
        """
        message = self.plan.response(self.id_field, outputs.row_shapes, outputs.rows(start, start + self.rows))
        counters.answered(
            self.rows, self.arrived_s, outputs.began_s, outputs.ran_s, time.monotonic(), self.call.streamed
        )
        return message

    def finish(self, outputs: Outputs, start: int, counters: Counters) -> None:
        """Answer the call with what :meth:`prepare` returns. Any thread; never blocks."""
        message = self.prepare(outputs, start, counters)
        if message is not None:
            self.call.reply(message)

    def fail(self, error: Exception, failures: Failures) -> None:
        """Answer with an error. Any thread; never blocks. Never raises, so that the rest of the batch is unaffected."""
        failures.count(error, time.monotonic() - self.arrived_s, streamed=self.call.streamed)
        try:
            self.call.fail(error)
        except Exception:  # noqa: BLE001  # there is no caller left to tell
            _LOG.exception("bug: a call took no answer")


def split(job: Job, max_rows: int) -> Sequence[Job]:
    """Split a job of more than ``max_rows`` rows into parts that fit. Together they answer its call once, in order."""
    count = -(-job.rows // max_rows)
    request = _SplitRequest(job, count)
    parts: list[_Part] = []
    for index, start in enumerate(range(0, job.rows, max_rows)):
        rows = min(max_rows, job.rows - start)
        tensors = [
            tensor[start * width : (start + rows) * width]
            for tensor, width in zip(
                job.tensors, [feed.row_bytes or feed.row_elements for feed in job.plan.bucket.feeds], strict=True
            )
        ]
        parts.append(_Part(request, index, job.plan, rows, tensors))
    # The message stays in memory, and the request in the queue, while any part waits: the last part accounts for both.
    parts[-1].message_bytes = job.message_bytes
    parts[-1].requests = 1
    return parts


class _SplitRequest:
    """Collects the outputs of the parts of a job, and acts as their call, so that the queue can drop them."""

    __slots__ = (
        "_began_s",
        "_failed",
        "_job",
        "_lock",
        "_missing",
        "_pieces",
        "_tails",
        "deadline_s",
        "streamed",
        "trace",
    )

    def __init__(self, job: Job, parts: int) -> None:
        self._job = job
        self._began_s = math.inf
        self._lock = threading.Lock()
        self._missing = parts
        self._failed = False
        self._pieces: list[Sequence[bytes | memoryview]] = [[] for _ in range(parts)]
        self._tails: tuple[tuple[int, ...], ...] | None = None
        self.deadline_s: float = job.deadline_s
        self.streamed: bool = job.call.streamed
        self.trace = job.trace

    @property
    def cancelled(self) -> bool:
        return self._failed or self._job.call.cancelled

    def add(self, part: _Part, outputs: Outputs, data: Sequence[bytes | memoryview], counters: Counters) -> None:
        """Add the outputs of one part; the last one answers the call. Several runners may call it at the same time."""
        row_shapes = outputs.row_shapes
        with self._lock:
            if self._failed:
                return
            self._pieces[part.index] = data
            self._missing -= 1
            self._began_s = min(self._began_s, outputs.began_s)
            same = self._tails in (None, row_shapes)
            self._tails = row_shapes
            # Set under the lock, so that no other part answers in between.
            self._failed = not same
            last = not self._missing
        job = self._job
        job.arrived_s = part.arrived_s
        if not same:
            error = ExecutionFailed(
                f"model '{job.plan.signature.model_name}': the request has more rows than a batch may have and "
                "its parts gave outputs of different shapes; send fewer rows at a time"
            )
            job.fail(error, counters.failures)
        elif last:
            joined: list[bytes | memoryview] = [b"".join(column) for column in zip(*self._pieces, strict=True)]
            outputs_of_all = RequestOutputs(row_shapes, joined, began_s=self._began_s, ran_s=outputs.ran_s)
            job.finish(outputs_of_all, 0, counters)

    def fail_part(self, part: _Part, error: Exception, failures: Failures) -> None:
        """Fail the request with the first error of a part. From then on its other parts count as cancelled."""
        with self._lock:
            first = not self._failed
            self._failed = True
        if first:
            self._job.arrived_s = part.arrived_s
            self._job.fail(error, failures)

    def reply(self, message: EncodedMessage) -> None:  # noqa: ARG002  # as Call has it
        raise AssertionError("bug: a part answers through add()")

    def fail(self, error: Exception) -> None:  # noqa: ARG002  # likewise
        raise AssertionError("bug: a part fails through fail_part()")


class _Part(Job):
    """Some rows of a split request."""

    __slots__ = ("_request", "index")

    answers_call = False

    def __init__(self, request: _SplitRequest, index: int, plan: Plan, rows: int, tensors: Sequence[Tensor]) -> None:
        super().__init__(request, plan, rows, tensors, b"", 0)
        self._request = request
        self.index = index
        self.requests = 0
        self.trace = request.trace

    def prepare(self, outputs: Outputs, start: int, counters: Counters) -> EncodedMessage | None:
        self._request.add(self, outputs, outputs.rows(start, start + self.rows), counters)
        return None

    def fail(self, error: Exception, failures: Failures) -> None:
        self._request.fail_part(self, error, failures)
