"""The timeline of one sampled request: the seam between the engine, who chooses requests, and who keeps traces.

    RECEIVED -> QUEUED -> BATCHED -> RUN_START -> RUN_END -> SENT

Marks moments and decides nothing: sampling.py chooses the requests, observe/traces.py writes what came of them. A
request that is refused or fails ends its trace too, with fewer stages. A request with more rows than a batch may have
runs in parts, and a batch that raised runs its members singly: then BATCHED to RUN_END stand there once for each run.
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

# The id is the caller's; in a trace it stays one short printable text.
_ID_LIMIT_BYTES: Final = 128
# https://www.w3.org/TR/trace-context/#traceparent-header; a later version than 00 may have more behind the flags.
_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_TRACEPARENT_LENGTH: Final = 55
_SAMPLED_FLAG: Final = 1
# The specification has senders keep it within 512 characters.
_TRACESTATE_LIMIT: Final = 512
_VARINT_GOES_ON: Final = b"\x80"


class Stage(StrEnum):
    """A moment in the life of a request.

    RECEIVED: its message is complete. QUEUED: checked and admitted. BATCHED: taken to run, with those that joined it.
    RUN_START and RUN_END: around the model itself. SENT: its answer, or its error, is with the transport.
    """

    RECEIVED = "RECEIVED"
    QUEUED = "QUEUED"
    BATCHED = "BATCHED"
    RUN_START = "RUN_START"
    RUN_END = "RUN_END"
    SENT = "SENT"


class Mark(NamedTuple):
    """When a stage was reached.

    Attributes:
        stage: Which.
        at_ns: On ``time.monotonic_ns``.
        batch_rows: Rows of the batch, of BATCHED only.
    """

    stage: Stage
    at_ns: int
    batch_rows: int | None = None


class Parent(NamedTuple):
    """The caller's own trace, as W3C Trace Context has it.

    Attributes:
        traceparent: The header, checked.
        tracestate: The header beside it; "" where there is none.
        sampled: Whether the caller keeps its trace.
    """

    traceparent: str
    tracestate: str
    sampled: bool


class TraceSink(Protocol):
    """Where traces go when they have ended."""

    def put(self, trace: Trace) -> None:
        """Take a trace that has ended. Any thread; never blocks, never raises.

        Where one part of a request has failed, another that still runs may add marks behind SENT.
        """


class Tracer(Protocol):
    """Who chooses the requests that are traced.

    Attributes:
        on: Whether any request may be chosen: all that is asked while tracing is off.
    """

    on: bool

    @property
    def passed_over(self) -> Mapping[str, Iterator[None]]:
        """Name of a model -> an item for each request to it that is not chosen. Who has a request takes one.

        Where none is left, or there is no such name, :meth:`begin` says what becomes of it. Not to be kept: there may
        be another iterator at any time.
        """
        ...

    def begin(self, model: str, call: Call, id_field: bytes, received_s: float, transport: str, /) -> Trace | None:
        """The trace of a request that has come, or None where it was not chosen. Any thread; never blocks.

        It counts the request. Where :attr:`passed_over` had an item for it, it is counted already.

        Args:
            model: The name in the request; perhaps of no model.
            call: Whose request it is.
            id_field: Wire bytes of the request's id.
            received_s: When its message was complete, on ``time.monotonic``.
            transport: What took it in.
        """


class Trace:
    """What one request went through. Marked by one thread at a time, but for parts that run side by side.

    Attributes:
        model: Its name.
        version: That ran, or was about to; 0 where the request did not get so far.
        request_id: The caller's, printable, at most 128 bytes.
        rows: Of the request; 0 where it did not get so far.
        transport: What took it in.
        parent: The caller's trace; None where it sent none.
        began_unix_ns: When it was received, on the wall clock.
        marks: In the order in which they were made.
        outcome: OK, or the reason of the error (``google.rpc.ErrorInfo.reason``); "" until it has ended.
        group: Traces that are kept before they are written, as its settings have it.
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
        """Note that a stage is reached now."""
        self.marks.append(Mark(stage, time.monotonic_ns()))

    def end(self, error: Exception | None) -> None:
        """Note that the answer is sent, and hand the trace over. A second time does nothing."""
        if self.outcome:
            return
        self.mark(Stage.SENT)
        if error is None:
            self.outcome = OK
        else:
            self.outcome = error.reason if isinstance(error, ServerError) else ServerError.reason
        self._sink.put(self)

    # It ends with the answer of its call: see InterceptedCall.

    def reply(self, call: Call, message: EncodedMessage) -> None:
        """Answer; where that raises, an error follows and ends the trace."""
        call.reply(message)
        self.end(None)

    def fail(self, call: Call, error: Exception) -> None:
        """Answer with an error."""
        try:
            call.fail(error)
        finally:
            self.end(error)


def mark_all(traces: Iterable[Trace], stage: Stage, *, batch_rows: int | None = None) -> None:
    """Mark the members of a batch with one and the same moment."""
    mark = Mark(stage, time.monotonic_ns(), batch_rows)
    for trace in traces:
        trace.marks.append(mark)


def read_parent(metadata: Sequence[tuple[str, str | bytes]]) -> Parent | None:
    """The caller's trace from the metadata of its call; None where there is none, or none that is valid."""
    traceparent = tracestate = ""
    for key, value in metadata:
        if key == "traceparent" and isinstance(value, str):
            traceparent = value
        elif key == "tracestate" and isinstance(value, str) and len(value) <= _TRACESTATE_LIMIT:
            tracestate = value
    found = _TRACEPARENT.fullmatch(traceparent)
    # Version 00 ends behind the flags.
    if found is None or (found[1] == "00" and found[3]):
        return None
    # Of a later version, only what is known here travels on.
    return Parent(traceparent[:_TRACEPARENT_LENGTH], tracestate, bool(int(found[2], 16) & _SAMPLED_FLAG))


def _id_text(id_field: bytes) -> str:
    """The id behind the tag and the length of its field; not always UTF-8, since nobody needs to read it but this."""
    start = 1
    while id_field[start : start + 1] >= _VARINT_GOES_ON:
        start += 1
    return one_line(id_field[start + 1 :][: 4 * _ID_LIMIT_BYTES].decode(errors="replace"), _ID_LIMIT_BYTES)
