"""A sampled request leaves a timeline, however it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.response_cache.cache import ResponseCache
from sardonyx_server.engine.telemetry.sampling import Sampler, TraceSettings
from sardonyx_server.engine.telemetry.tracing import Mark, Parent, Stage, Trace, read_parent
from sardonyx_server.errors import DeadlineExceeded, ExecutionFailed, Overloaded
from tests.server.engine.doubles import (
    BrokenCall,
    FakeCall,
    FakeSession,
    doubling,
    message,
    model_of,
    policy,
    publish,
    rows_of,
)
from tests.server.engine.traces import KeptTraces, id_field

if TYPE_CHECKING:
    from sardonyx_server.engine.running.model import Model

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def traced(model: Model) -> tuple[Intake, KeptTraces]:
    """An intake that traces every request to one model."""
    registry, kept = Registry(), KeptTraces()
    publish(registry, model)
    sampling = Sampler(
        TraceSettings(traces=True, rate=1),
        sink=kept,
        knows=lambda name: name in registry.entries(),
        parent_based=False,
    )
    return Intake(registry, tracer=sampling, transport="lane"), kept


def new_trace(kept: KeptTraces, **changes: Any) -> Trace:
    """A trace that has just begun."""
    fields: dict[str, Any] = {"model": "m", "id_field": b"", "transport": "lane", "parent": None, "group": 0}
    return Trace(kept, received_ns=time.monotonic_ns(), **fields | changes)


def stages(trace: Trace) -> list[str]:
    """Names of its marks."""
    return [mark.stage.value for mark in trace.marks]


def send(intake: Intake, *, rows: int = 2, **more: Any) -> FakeCall:
    """A request that is taken in."""
    call = FakeCall()
    intake.accept(message({"x": rows_of(0, rows)}, **more).SerializeToString(), call)
    return call


def test_a_request_passes_its_stages_in_order() -> None:
    """With the model, the version that ran, the id, the rows and the transport."""
    intake, kept = traced(model_of(doubling()))
    before_ns = time.time_ns()
    call = send(intake, request_id="seven")
    intake.run_waiting()
    (trace,) = kept
    assert call.replies
    assert stages(trace) == ["RECEIVED", "QUEUED", "BATCHED", "RUN_START", "RUN_END", "SENT"]
    assert [mark.at_ns for mark in trace.marks] == sorted(mark.at_ns for mark in trace.marks)
    assert (trace.model, trace.version, trace.request_id, trace.rows) == ("m", 1, "seven", 2)
    assert (trace.transport, trace.outcome, trace.parent) == ("lane", "OK", None)
    assert before_ns <= trace.began_unix_ns <= time.time_ns()


def test_members_of_a_batch_share_the_moment_it_was_made() -> None:
    """And of its run; not those of their own."""
    intake, kept = traced(model_of(doubling()))
    for rows in (1, 3):
        send(intake, rows=rows)
    intake.run_waiting()
    one, other = kept
    assert one.marks[2] == other.marks[2] == Mark(Stage.BATCHED, one.marks[2].at_ns, 4)
    assert one.marks[3:5] == other.marks[3:5]
    assert one.marks[0].at_ns < other.marks[0].at_ns


def test_a_request_that_needs_no_run_has_the_stages_it_went_through() -> None:
    """It waited for an equal one, or the answer was there."""
    intake, kept = traced(model_of(doubling(), response_cache=ResponseCache(10**6)))
    for _ in range(2):
        send(intake)
    intake.run_waiting()
    send(intake)
    assert [stages(trace) for trace in kept] == [
        ["RECEIVED", "QUEUED", "BATCHED", "RUN_START", "RUN_END", "SENT"],
        ["RECEIVED", "QUEUED", "SENT"],
        ["RECEIVED", "SENT"],
    ]
    assert [(trace.version, trace.rows, trace.outcome) for trace in kept] == [(1, 2, "OK")] * 3


def test_a_request_that_runs_in_parts_has_the_stages_of_each_and_is_sent_once() -> None:
    """20 rows, 8 at a time."""
    intake, kept = traced(model_of(doubling()))
    send(intake, rows=20)
    intake.run_waiting()
    (trace,) = kept
    run = ["BATCHED", "RUN_START", "RUN_END"]
    assert stages(trace) == ["RECEIVED", "QUEUED", *run, *run, *run, "SENT"]
    assert [mark.batch_rows for mark in trace.marks if mark.batch_rows] == [8, 8, 4]
    assert trace.rows == 20


def test_a_model_that_raises_ends_the_trace_of_the_guilty_with_its_reason() -> None:
    """The others of its batch ran again, which their timelines show."""

    def answer(feeds: Any) -> Any:
        if len(feeds["x"]) != 1:
            raise ExecutionFailed("no")
        return [feeds["x"]]

    intake, kept = traced(model_of(FakeSession(answer)))
    for rows in (1, 2):
        send(intake, rows=rows)
    intake.run_waiting()
    assert [trace.outcome for trace in kept] == ["OK", "EXECUTION_FAILED"]
    again = ["BATCHED", "RUN_START"]
    assert stages(kept[0]) == ["RECEIVED", "QUEUED", *again, *again, "RUN_END", "SENT"]
    assert stages(kept[1]) == ["RECEIVED", "QUEUED", *again, *again, "SENT"]


@pytest.mark.parametrize(
    ("more", "outcome", "version"),
    [({"outputs": ["z"]}, "INVALID_REQUEST", 0), ({"version": "9"}, "VERSION_NOT_FOUND", 0), ({}, "OVERLOADED", 1)],
)
def test_a_request_that_is_refused_ends_its_trace(more: dict[str, Any], outcome: str, version: int) -> None:
    """Not queued, not run."""
    intake, kept = traced(model_of(doubling(), batching=policy(queue_rows=2)))
    if not more:
        send(intake)
    send(intake, **more)
    assert [(stages(trace), trace.outcome, trace.version) for trace in kept] == [
        (["RECEIVED", "SENT"], outcome, version)
    ]


def test_a_request_whose_deadline_passed_was_queued_and_never_batched() -> None:
    """The timeline tells where its time went."""
    intake, kept = traced(model_of(doubling()))
    intake.accept(message({"x": rows_of(0, 1)}).SerializeToString(), FakeCall(deadline_s=0.0))
    intake.run_waiting()
    (trace,) = kept
    assert stages(trace) == ["RECEIVED", "QUEUED", "SENT"]
    assert trace.outcome == DeadlineExceeded.reason


def test_requests_to_nobody_and_messages_that_are_none_leave_no_trace() -> None:
    """Callers choose those names."""
    intake, kept = traced(model_of(doubling()))
    intake.accept(b"\xff", FakeCall())
    send(intake, model="n")
    assert not kept


def test_an_order_of_answers_shows_in_the_moment_of_sending() -> None:
    """What waits for its turn is sent later."""
    intake, kept = traced(model_of(doubling(), batching=policy(preserve_ordering=True)))
    calls = [send(intake, request_id=str(number)) for number in range(3)]
    intake.run_waiting()
    assert all(call.replies for call in calls)
    assert [trace.request_id for trace in kept] == ["0", "1", "2"]


def test_an_id_stays_one_short_printable_text() -> None:
    """It is the caller's, and goes into files."""
    kept = KeptTraces()
    assert new_trace(kept, id_field=id_field("a\nb\x1b[2J")).request_id == "a\\nb\\x1b[2J"
    assert new_trace(kept, id_field=id_field("x" * 10_000)).request_id == "x" * 125 + "..."
    assert new_trace(kept, id_field=id_field("é" * 1000)).request_id.startswith("éé")
    assert new_trace(kept, id_field=b"\x1a\x02\xff\xfe").request_id == "��"
    assert new_trace(kept).request_id == ""


def test_a_trace_ends_once() -> None:
    """With what came first."""
    kept = KeptTraces()
    trace = new_trace(kept)
    trace.end(Overloaded("full", reason="QUEUE_TIMEOUT"))
    trace.end(None)
    assert kept == [trace]
    assert trace.outcome == "QUEUE_TIMEOUT"


def test_an_error_nobody_foresaw_is_internal() -> None:
    """As it is to the caller."""
    kept = KeptTraces()
    new_trace(kept).end(KeyError("secret"))
    assert kept[0].outcome == "INTERNAL"


def test_a_call_that_takes_no_answer_ends_its_trace_with_the_error_that_follows() -> None:
    """The job tells the call once more, and that raises, too."""
    kept = KeptTraces()
    call, trace = BrokenCall(), new_trace(kept)
    with pytest.raises(RuntimeError):
        trace.reply(call, b"")
    assert not kept
    with pytest.raises(RuntimeError):
        trace.fail(call, ExecutionFailed("no"))
    assert [trace.outcome for trace in kept] == ["EXECUTION_FAILED"]


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (PARENT, True),
        (PARENT[:-2] + "00", False),
        (PARENT[:-2] + "03", True),
        ("cc" + PARENT[2:] + "-what-the-future-brings", True),
    ],
)
def test_the_trace_of_a_caller_is_read(header: str, sampled: bool) -> None:
    """W3C Trace Context; of a later version, the part that is known."""
    parent = read_parent((("other", "x"), ("traceparent", header), ("tracestate", "a=1,b=2")))
    assert parent == Parent(header[:55], "a=1,b=2", sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        PARENT.upper(),
        PARENT + "-more",
        PARENT + "\n",
        "ff" + PARENT[2:],
        "00-" + "0" * 32 + PARENT[35:],
        PARENT[:36] + "0" * 16 + "-01",
        b"\x00",
        "x" * 8000,
    ],
)
def test_a_trace_of_a_caller_that_is_not_valid_is_none(header: str | bytes) -> None:
    """As the specification says."""
    assert read_parent((("traceparent", header),)) is None


def test_a_tracestate_beyond_the_limit_is_left_behind() -> None:
    """The trace itself goes on."""
    assert read_parent((("traceparent", PARENT), ("tracestate", "a" * 513))) == Parent(PARENT, "", sampled=True)
