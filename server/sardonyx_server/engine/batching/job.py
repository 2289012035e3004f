"""One request on its way through a model's queue, and the parts of one that is larger than a batch."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from sardonyx_server.engine.requests.outputs import WholeOutputs
from sardonyx_server.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sardonyx_server.engine.call import Call
    from sardonyx_server.engine.counting.counters import Counters
    from sardonyx_server.engine.counting.failures import Failures
    from sardonyx_server.engine.counting.tracing import Trace
    from sardonyx_server.engine.requests.outputs import Outputs
    from sardonyx_server.engine.requests.plan import Plan, Tensor
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["Job", "split"]

_LOG = logging.getLogger("sardonyx.engine")


class Job:
    """A checked request that waits for its model.

    Attributes:
        call: Who waits for the answer. ``call.cancelled`` says that nobody does any more.
        plan: What the request asks for.
        requests: How many requests have left the queue with this job: 1; of the parts of one only the last counts.
        rows: Rows of this job.
        tensors: In the order of ``plan.bucket.feeds``.
        id_field: Wire bytes of the request's id.
        message_bytes: What the job keeps in memory while it waits.
        deadline_s: When the caller gives up, on ``time.monotonic``.
        arrived_s: When it entered the queue, on ``time.monotonic``; set by the queue.
        expires_s: When its queue policy gives it up, on ``time.monotonic``; set by the queue.
        trace: Its timeline; None unless the request is sampled. The call ends it.
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

    answers_alone = True
    """Whether :meth:`finish` answers the call, rather than one of several that do so together."""

    def __init__(
        self, call: Call | _Whole, plan: Plan, rows: int, tensors: Sequence[Tensor], id_field: bytes, message_bytes: int
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
        """The answer, from outputs of which this job's rows begin at ``start``."""
        return self.plan.response(self.id_field, outputs.tails, outputs.rows(start, start + self.rows))

    def prepare(self, outputs: Outputs, start: int, counters: Counters) -> EncodedMessage | None:
        """The answer to give, from the outputs of a run, of which this job's rows begin at ``start``. Any thread.

        It is counted before it is given: who has it and then asks for the statistics finds it there.

        Returns:
            What :attr:`call` shall be answered with; None where that is not this job's to do.
        """
        message = self.plan.response(self.id_field, outputs.tails, outputs.rows(start, start + self.rows))
        counters.answered(
            self.rows, self.arrived_s, outputs.began_s, outputs.ran_s, time.monotonic(), self.call.streamed
        )
        return message

    def finish(self, outputs: Outputs, start: int, counters: Counters) -> None:
        """Answer, as :meth:`prepare` says. Any thread; never blocks."""
        message = self.prepare(outputs, start, counters)
        if message is not None:
            self.call.reply(message)

    def fail(self, error: Exception, failures: Failures) -> None:
        """Answer with an error. Any thread; never blocks and never raises: the rest of a batch must not suffer."""
        failures.count(error, time.monotonic() - self.arrived_s, streamed=self.call.streamed)
        try:
            self.call.fail(error)
        except Exception:  # noqa: BLE001  # nobody is left to be told
            _LOG.exception("bug: a call took no answer")


def split(job: Job, max_rows: int) -> Sequence[Job]:
    """Cut a job of more than ``max_rows`` rows into jobs that fit; together they answer its call once, in order."""
    count = -(-job.rows // max_rows)
    whole = _Whole(job, count)
    parts: list[_Part] = []
    for index, start in enumerate(range(0, job.rows, max_rows)):
        rows = min(max_rows, job.rows - start)
        tensors = [
            tensor[start * width : (start + rows) * width]
            for tensor, width in zip(
                job.tensors, [feed.row_bytes or feed.row_elements for feed in job.plan.bucket.feeds], strict=True
            )
        ]
        parts.append(_Part(whole, index, job.plan, rows, tensors))
    # The message stays in memory, and the request in the queue, as long as one part waits: the last accounts for both.
    parts[-1].message_bytes = job.message_bytes
    parts[-1].requests = 1
    return parts


class _Whole:
    """Collects the parts of a job. Stands in for its call, so that the queue drops parts nobody waits for."""

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
        """Take one part's outputs; the last one answers. Several runners may call it at once."""
        tails = outputs.tails
        with self._lock:
            if self._failed:
                return
            self._pieces[part.index] = data
            self._missing -= 1
            self._began_s = min(self._began_s, outputs.began_s)
            same = self._tails in (None, tails)
            self._tails = tails
            # Decided under the lock: another part must not answer in between.
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
            whole = WholeOutputs(tails, joined, began_s=self._began_s, ran_s=outputs.ran_s)
            job.finish(whole, 0, counters)

    def fail_part(self, part: _Part, error: Exception, failures: Failures) -> None:
        """Fail the whole job, with the first error of a part; from now on the other parts are not wanted any more."""
        with self._lock:
            first = not self._failed
            self._failed = True
        if first:
            self._job.arrived_s = part.arrived_s
            self._job.fail(error, failures)

    def reply(self, message: EncodedMessage) -> None:  # noqa: ARG002  # a call has it
        raise AssertionError("bug: a part answers through add()")

    def fail(self, error: Exception) -> None:  # noqa: ARG002  # likewise
        raise AssertionError("bug: a part fails through fail_part()")


class _Part(Job):
    """Some rows of a larger job."""

    __slots__ = ("_whole", "index")

    answers_alone = False

    def __init__(self, whole: _Whole, index: int, plan: Plan, rows: int, tensors: Sequence[Tensor]) -> None:
        super().__init__(whole, plan, rows, tensors, b"", 0)
        self._whole = whole
        self.index = index
        self.requests = 0
        self.trace = whole.trace

    def prepare(self, outputs: Outputs, start: int, counters: Counters) -> EncodedMessage | None:
        self._whole.add(self, outputs, outputs.rows(start, start + self.rows), counters)
        return None

    def fail(self, error: Exception, failures: Failures) -> None:
        self._whole.fail_part(self, error, failures)
