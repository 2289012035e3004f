"""The trace of one sampled request, and the interfaces between the engine, the sampler and the trace exporter.

    RECEIVED -> QUEUED -> BATCHED -> RUN_START -> RUN_END -> SENT

Only records timestamps: sampling.py samples the requests, observe/traces.py exports the traces. The trace of a request
that is refused or fails has fewer stages. A request that is split into parts, or retried singly after its batch failed,
has BATCHED to RUN_END once for each run.
"""

from __future__ import annotations

import re
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sardonyx_server.errors import ServerError
from sardonyx_server.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sardonyx_server.engine.call import Call
    from sardonyx_wire.protobuf_fields import EncodedMessage

__all__ = ["OK", "Mark", "Parent", "Stage", "Trace", "TraceSink", "Tracer", "mark_all", "read_parent"]

OK: Final = "OK"
"""Outcome of a request that was answered with outputs."""

# The id comes from the caller; in a trace it is cut to one short printable text.
_ID_LIMIT_BYTES: Final = 128
# https://www.w3.org/TR/trace-context/#traceparent-header; versions after 00 may have more fields after the flags.
_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_TRACEPARENT_LENGTH: Final = 55
_SAMPLED_FLAG: Final = 1
# The specification requires senders to keep it within 512 characters.
_TRACESTATE_LIMIT: Final = 512
_VARINT_GOES_ON: Final = b"\x80"


class Stage(StrEnum):
    """A stage of a request.

    RECEIVED: its message is complete. QUEUED: validated and admitted. BATCHED: taken from the queue in a batch.
    RUN_START and RUN_END: around the run of the model. SENT: its answer or error was given to the transport.
    """

    RECEIVED = "RECEIVED"
    QUEUED = "QUEUED"
    BATCHED = "BATCHED"
    RUN_START = "RUN_START"
    RUN_END = "RUN_END"
    SENT = "SENT"


class Mark(NamedTuple):
    """The timestamp of a stage.

    Attributes:
        stage: The stage.
        at_ns: When it was reached, on ``time.monotonic_ns``.
        batch_rows: Rows of the batch; only for BATCHED.
    """

    stage: Stage
    at_ns: int
    batch_rows: int | None = None


class Parent(NamedTuple):
    """The caller's trace context (W3C Trace Context).

    Attributes:
        traceparent: The header, validated.
        tracestate: The accompanying header; "" if there is none.
        sampled: The sampled flag.
    """

    traceparent: str
    tracestate: str
    sampled: bool


class TraceSink(Protocol):
    """Receives completed traces."""

    def put(self, trace: Trace) -> None:
        """Take a completed trace. Any thread; never blocks, never raises.

        If one part of a request has failed, another part that still runs may add marks after SENT.
        """


class Tracer(Protocol):
    """Samples the requests to trace.

    Attributes:
        on: Whether any request may be sampled. The only thing that is read while tracing is off.
    """

    on: bool

    @property
    def unsampled(self) -> Mapping[str, Iterator[None]]:
        """Model name -> iterator with an item for each request that is not sampled. Take one for each request.

        If no item is left or the name is missing, call :meth:`begin`. The mapping must not be stored: iterators may be
        replaced at any time.
        """
        ...

    def begin(self, model: str, call: Call, id_field: bytes, received_s: float, transport: str, /) -> Trace | None:
        """Begin the trace of a received request; None if it is not sampled. Any thread; never blocks.

        It counts the request. A request that took an item of :attr:`unsampled` is already counted.

        Args:
            model: Name in the request; it may be unknown.
            call: The call of the request.
            id_field: Wire bytes of the request's id.
            received_s: When its message was complete, on ``time.monotonic``.
            transport: Name of the transport.
        """


class Trace:
    """The trace of one request. Marked by one thread at a time, except for parts that run in parallel.

    Attributes:
        model: Name of the model.
        version: The version that ran the request; 0 if it was not admitted.
        request_id: The caller's id, printable, at most 128 bytes.
        rows: Rows of the request; 0 if it was not admitted.
        transport: Name of the transport.
        parent: The caller's trace context; None if it sent none.
        began_unix_ns: When it was received, in Unix time.
        marks: Timestamps, in order.
        outcome: OK, or the reason of the error (``google.rpc.ErrorInfo.reason``); "" until the trace is completed.
        group: ``TraceSettings.group`` when it began.
    """

    __slots__ = (
        "_sink",
        "began_unix_ns",
        "group",
        "marks",
        "model",
        "outcome",
        "parent",
        "request_id",
        "rows",
        "transport",
        "version",
    )

    def __init__(
        self,
        sink: TraceSink,
        *,
        model: str,
        id_field: bytes,
        transport: str,
        parent: Parent | None,
        received_ns: int,
        group: int,
    ) -> None:
        self._sink = sink
        self.model = model
        self.version = 0
        self.request_id = _id_text(id_field)
        self.rows = 0
        self.transport = transport
        self.parent = parent
        self.group = group
        self.began_unix_ns = time.time_ns() - (time.monotonic_ns() - received_ns)
        self.marks = [Mark(Stage.RECEIVED, received_ns)]
        self.outcome = ""

    def mark(self, stage: Stage) -> None:
        """Record that a stage is reached now."""
        self.marks.append(Mark(stage, time.monotonic_ns()))

    def end(self, error: Exception | None) -> None:
        """Record that the answer is sent, and give the trace to the sink. Idempotent."""
        if self.outcome:
            return
        self.mark(Stage.SENT)
        if error is None:
            self.outcome = OK
        else:
            self.outcome = error.reason if isinstance(error, ServerError) else ServerError.reason
        self._sink.put(self)

    # A trace intercepts the answer of its call, which completes it: see InterceptedCall.

    def reply(self, call: Call, message: EncodedMessage) -> None:
        """Answer. If that raises, an error follows, which completes the trace."""
        call.reply(message)
        self.end(None)

    def fail(self, call: Call, error: Exception) -> None:
        """Answer with an error."""
        try:
            call.fail(error)
        finally:
            self.end(error)


def mark_all(traces: Iterable[Trace], stage: Stage, *, batch_rows: int | None = None) -> None:
    """Mark the traces of a batch with the same timestamp."""
    mark = Mark(stage, time.monotonic_ns(), batch_rows)
    for trace in traces:
        trace.marks.append(mark)


def read_parent(metadata: Sequence[tuple[str, str | bytes]]) -> Parent | None:
    """Read the caller's trace context from the metadata of its call; None if there is no valid one."""
    traceparent = tracestate = ""
    for key, value in metadata:
        if key == "traceparent" and isinstance(value, str):
            traceparent = value
        elif key == "tracestate" and isinstance(value, str) and len(value) <= _TRACESTATE_LIMIT:
            tracestate = value
    found = _TRACEPARENT.fullmatch(traceparent)
    # Version 00 ends after the flags.
    if found is None or (found[1] == "00" and found[3]):
        return None
    # Of later versions, only the known fields are passed on.
    return Parent(traceparent[:_TRACEPARENT_LENGTH], tracestate, bool(int(found[2], 16) & _SAMPLED_FLAG))


def _id_text(id_field: bytes) -> str:
    """Decode the id from its protobuf field, after tag and length. It has not been checked to be valid UTF-8."""
    start = 1
    while id_field[start : start + 1] >= _VARINT_GOES_ON:
        start += 1
    return one_line(id_field[start + 1 :][: 4 * _ID_LIMIT_BYTES].decode(errors="replace"), _ID_LIMIT_BYTES)
