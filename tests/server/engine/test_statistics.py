"""Snapshots: what the counters of all threads come to, for every way a request can go."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from sardonyx_server.engine.batching.batch import CLOSED_BY
from sardonyx_server.engine.batching.byte_budget import ByteBudget
from sardonyx_server.engine.batching.policy import QueuePolicy
from sardonyx_server.engine.intake import Intake
from sardonyx_server.engine.models.registry import Registry
from sardonyx_server.engine.models.states import State, VersionStatus
from sardonyx_server.engine.running.model import Model
from sardonyx_server.engine.statistics import Duration, VersionStatistics, snapshot, snapshots
from sardonyx_server.engine.telemetry.counters import Counters
from sardonyx_server.engine.telemetry.failures import FAILURES, REJECTIONS
from sardonyx_server.errors import ExecutionFailed, ModelUnavailable
from sardonyx_wire.protobuf_fields import EncodedMessage
from tests.server.engine.doubles import (
    PATIENCE_S,
    Array,
    FakeCall,
    FakeSession,
    HandLane,
    doubling,
    info,
    message,
    model_of,
    policy,
    publish,
    rows_of,
    signature,
)

NOTHING = Duration(count=0, ns=0)


class Serving:
    """An intake before one model, and what was sent to it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.registry = Registry()
        publish(self.registry, model)
        self._intake = Intake(self.registry)

    def send(self, rows: int = 1, *, start: float = 0, call: FakeCall | None = None, **more: Any) -> FakeCall:
        """One request, which waits."""
        call = call or FakeCall()
        self._intake.accept(message({"x": rows_of(int(start), rows)}, **more).SerializeToString(), call)
        return call

    def run(self) -> VersionStatistics:
        """Run what waits, inline; what came of it."""
        self._intake.run_waiting()
        return self.statistics

    @property
    def statistics(self) -> VersionStatistics:
        """As of now, and consistent."""
        now = snapshot(self.model)
        assert_consistent(now)
        return now


def assert_consistent(now: VersionStatistics) -> None:
    """Assert what holds for every version at rest."""
    ran = now.success.count - now.cache_hit.count
    assert now.queue.count == now.success.count
    assert now.compute_input.count == now.compute_infer.count == now.compute_output.count == ran
    assert now.execution_count == sum(batch.count for batch in now.batches)
    assert [batch.size_rows for batch in now.batches] == sorted({batch.size_rows for batch in now.batches})
    assert sum(now.failures.values()) == now.fail.count >= sum(now.rejections.values())
    assert tuple(now.failures) == FAILURES
    assert tuple(now.rejections) == REJECTIONS
    assert tuple(now.closed_by) == CLOSED_BY
    assert sum(now.request_s.counts) == now.success.count
    assert sum(now.queue_s.counts) == now.success.count
    assert sum(now.compute_s.counts) == sum(now.batch_rows.counts) == now.execution_count
    for histogram in (now.request_s, now.queue_s, now.compute_s, now.batch_rows):
        assert len(histogram.counts) == len(histogram.bounds) + 1
    assert round(now.request_s.total * 1e9) == now.success.ns
    assert round(now.queue_s.total * 1e9) == now.queue.ns


def parts_ns(now: VersionStatistics) -> int:
    """Time of the parts of requests."""
    return now.queue.ns + now.compute_input.ns + now.compute_infer.ns + now.compute_output.ns


def sizes(now: VersionStatistics) -> dict[int, int]:
    """Rows -> runs."""
    return {batch.size_rows: batch.count for batch in now.batches}


def reasons(of: Mapping[str, int]) -> dict[str, int]:
    """Those that occurred."""
    return {reason: count for reason, count in of.items() if count}


def raising_at(bad: float) -> FakeSession:
    """Doubles, and raises where a row begins with ``bad``."""

    def answer(feeds: Mapping[str, Array]) -> list[Array]:
        if bad in feeds["x"][:, 0]:
            raise ExecutionFailed("bad row")
        return [feeds["x"] * 2]

    return FakeSession(answer)


class TestRequests:
    """Each way a request can go."""

    def test_a_version_that_has_done_nothing(self) -> None:
        """All zero; what is known of it is there."""
        model = model_of(doubling())
        now = Serving(model).statistics
        assert (now.model, now.version, now.provider, now.load_s) == ("m", 1, "CPUExecutionProvider", 0.5)
        assert (now.last_inference_ms, now.inference_count, now.execution_count, now.pending_requests) == (0, 0, 0, 0)
        assert now.success == now.fail == now.queue == now.cache_hit == now.cache_miss == NOTHING
        assert (now.batches, now.responses) == ((), {})

    def test_requests_that_ran_together_count_one_by_one(self) -> None:
        """Three requests of 1, 2 and 3 rows, one run of 6."""
        serving = Serving(model_of(doubling()))
        before_ms = int(time.time() * 1000)
        for rows in (1, 2, 3):
            serving.send(rows)
        assert serving.statistics.pending_requests == 3
        now = serving.run()
        assert (now.success.count, now.inference_count, now.execution_count) == (3, 6, 1)
        assert sizes(now) == {6: 1}
        assert reasons(now.closed_by) == {"drained": 1}
        assert before_ms <= now.last_inference_ms <= int(time.time() * 1000)
        assert now.pending_requests == 0
        # The run's own time once in the table, and once for each of the three.
        assert now.compute_infer.ns == pytest.approx(3 * now.batches[0].infer_ns, abs=3)
        assert now.compute_input.ns == pytest.approx(3 * now.batches[0].input_ns, abs=3)

    def test_the_parts_of_the_time_are_the_whole(self) -> None:
        """From arrival to answer there is no gap and nothing twice."""
        serving = Serving(model_of(doubling()))
        for _ in range(5):
            for rows in (1, 2, 3):
                serving.send(rows)
            serving.run()
        now = serving.statistics
        assert parts_ns(now) == pytest.approx(now.success.ns, abs=10)
        assert min(now.queue.ns, now.compute_input.ns, now.compute_infer.ns, now.compute_output.ns) > 0

    def test_a_request_that_was_split_counts_once(self) -> None:
        """10 rows by 4: three runs, one request."""
        serving = Serving(model_of(doubling(), batching=policy(max_rows=4)))
        serving.send(10)
        assert serving.statistics.pending_requests == 1
        now = serving.run()
        assert (now.success.count, now.inference_count, now.execution_count) == (1, 10, 3)
        assert sizes(now) == {2: 1, 4: 2}
        assert now.compute_infer.ns == pytest.approx(sum(batch.infer_ns for batch in now.batches), abs=3)
        # Waited for its first part only.
        assert now.queue.ns < now.success.ns - now.compute_infer.ns

    def test_a_model_without_a_batch_axis_has_runs_of_one(self) -> None:
        """Whatever its first dimension."""
        model = model_of(
            FakeSession(lambda feeds: [feeds["x"]]),
            of=signature(has_batch_axis=False),
            batching=policy(max_rows=1, dynamic_batching=False, has_batch_axis=False),
        )
        serving = Serving(model)
        serving.send(3)
        serving.send(5)
        now = serving.run()
        assert (now.inference_count, now.execution_count, sizes(now)) == (2, 2, {1: 2})
        assert reasons(now.closed_by) == {"alone": 2}

    def test_the_guilty_one_of_a_batch_fails_alone(self) -> None:
        """The run that raised is no execution; the single ones of the others are."""
        serving = Serving(model_of(raising_at(7)))
        serving.send(2)
        serving.send(1, start=7)
        serving.send(3, start=20)
        now = serving.run()
        assert (now.success.count, now.fail.count, now.inference_count, now.execution_count) == (2, 1, 5, 2)
        assert sizes(now) == {2: 1, 3: 1}
        assert (reasons(now.failures), reasons(now.rejections)) == ({"BACKEND": 1}, {})
        assert now.fail.ns > 0

    def test_a_split_request_with_a_guilty_part_fails_once(self) -> None:
        """Parts behind the guilty one are dropped and not counted."""
        serving = Serving(model_of(raising_at(3), batching=policy(max_rows=2)))
        serving.send(8)
        now = serving.run()
        assert (now.success.count, now.fail.count, now.inference_count) == (0, 1, 0)
        assert reasons(now.failures) == {"BACKEND": 1}
        assert sizes(now) == {2: 1}

    def test_parts_whose_outputs_differ_fail_their_request_once(self) -> None:
        """Which is the model's fault."""
        widths = iter((2, 3, 2))
        session = FakeSession(lambda feeds: [feeds["x"][:, :1].repeat(next(widths), axis=1)])
        serving = Serving(model_of(session, batching=policy(max_rows=2)))
        serving.send(6)
        now = serving.run()
        assert (now.success.count, now.fail.count, reasons(now.failures)) == (0, 1, {"BACKEND": 1})

    def test_an_answer_that_cannot_be_encoded_is_a_failure(self) -> None:
        """Not of the model's run, and of its own request only."""
        of = signature(outputs=(signature().outputs[0],))
        session = FakeSession(lambda feeds: [feeds["x"].astype(object)])
        serving = Serving(model_of(session, of=of))
        call = serving.send(1)
        now = serving.run()
        assert call.errors
        assert (now.success.count, now.fail.count, reasons(now.failures)) == (0, 1, {"OTHER": 1})

    def test_who_cancelled_counts_as_cancelled(self) -> None:
        """Once, also where the request was split."""
        serving = Serving(model_of(doubling(), batching=policy(max_rows=2)))
        for rows in (1, 5):
            serving.send(rows).cancelled = True
        now = serving.run()
        assert (now.success.count, now.fail.count, now.execution_count) == (0, 2, 0)
        assert (reasons(now.failures), reasons(now.rejections)) == ({"CANCELED": 2}, {"cancelled": 2})
        assert now.fail.ns > 0

    def test_a_deadline_that_passed_is_a_rejection(self) -> None:
        """Also where the transport has cancelled the call for it."""
        serving = Serving(model_of(doubling()))
        serving.send(1, call=FakeCall(deadline_s=0.0))
        late = FakeCall(deadline_s=0.0)
        late.cancelled = True
        serving.send(1, call=late)
        now = serving.run()
        assert (now.fail.count, now.execution_count) == (2, 0)
        assert (reasons(now.failures), reasons(now.rejections)) == ({"REJECTED": 2}, {"deadline": 2})

    def test_a_wait_that_was_too_long_is_a_rejection(self) -> None:
        """By the queue's own policy."""
        serving = Serving(model_of(doubling(), batching=policy(levels={1: QueuePolicy(timeout_s=0.0)})))
        serving.send(1)
        now = serving.run()
        assert (reasons(now.failures), reasons(now.rejections)) == ({"REJECTED": 1}, {"queue_timeout": 1})

    @pytest.mark.parametrize(
        ("batching", "reason"),
        [
            ({"queue_rows": 3}, "queue_full"),
            ({"levels": {1: QueuePolicy(max_requests=1)}}, "queue_full"),
            ({"queue_bytes": 60}, "queue_bytes"),
        ],
    )
    def test_a_request_that_finds_no_room_is_a_rejection(self, batching: dict[str, Any], reason: str) -> None:
        """It took no time."""
        serving = Serving(model_of(doubling(), batching=policy(**batching)))
        serving.send(2)
        serving.send(2)
        now = serving.run()
        assert (now.success.count, now.fail) == (1, Duration(count=1, ns=0))
        assert (reasons(now.failures), reasons(now.rejections)) == ({"REJECTED": 1}, {reason: 1})

    def test_a_bad_request_is_its_models_failure(self) -> None:
        """It never came near the queue."""
        serving = Serving(model_of(doubling()))
        call = serving.send(1, outputs=["nothing"])
        assert call.errors
        now = serving.statistics
        assert now.fail == Duration(count=1, ns=0)
        assert (reasons(now.failures), reasons(now.rejections)) == ({"OTHER": 1}, {"bad_request": 1})
        assert serving.registry.refusals.counts().count == 0

    def test_what_waits_when_the_time_for_draining_is_over_is_unavailable(self) -> None:
        """Its version has gone."""
        model = model_of(doubling(), runners=1)
        serving = Serving(model)
        serving.send(1)
        model.queue.fail_pending(ModelUnavailable("stopped"))
        assert reasons(serving.statistics.rejections) == {"unavailable": 1}

    def test_a_version_that_drains_refuses_as_unavailable_where_nothing_takes_its_place(self) -> None:
        """Counted once, although it was looked up more often."""
        serving = Serving(model_of(doubling()))
        serving.model.queue.close()
        serving.send(1)
        now = serving.statistics
        assert (now.fail.count, reasons(now.rejections)) == (1, {"unavailable": 1})

    def test_requests_that_name_no_model_that_is_ready_are_the_servers(self) -> None:
        """By reasons, without their names."""
        serving = Serving(model_of(doubling()))
        serving.registry.set_version("loading", VersionStatus(number=1, state=State.LOADING))
        intake = Intake(serving.registry)
        for sent in (b"\xff", b""):
            intake.accept(sent, FakeCall())
        for name in ("nobody", "loading"):
            serving.send(1, model=name)
        serving.send(1, version="abc")
        counts = serving.registry.refusals.counts()
        assert reasons(counts.rejections) == {"bad_request": 2, "not_found": 2, "unavailable": 1}
        assert serving.statistics.fail.count == 0

    def test_requests_of_streams_are_responses_too(self) -> None:
        """One for each, of index 0; a unary request has none."""
        serving = Serving(model_of(raising_at(7), batching=policy(max_rows=2)))
        serving.send(1)
        assert serving.run().responses == {}
        for rows in (1, 5):
            serving.send(rows, call=FakeCall(streamed=True))
        serving.send(1, start=7, call=FakeCall(streamed=True))
        serving.send(1, call=FakeCall(streamed=True), outputs=["nothing"])
        gone = FakeCall(streamed=True)
        serving.send(1, call=gone)
        gone.cancelled = True
        now = serving.run()
        (index,) = now.responses
        first = now.responses[index]
        assert index == "0"
        assert (first.success.count, first.fail.count, first.cancel.count) == (2, 2, 1)
        assert first.compute_infer.count == first.compute_output.count == 2
        assert min(first.compute_infer.ns, first.compute_output.ns, first.cancel.ns) > 0
        assert first.success.ns > first.compute_infer.ns + first.compute_output.ns
        assert first.empty_response == NOTHING
        assert (now.success.count, now.fail.count) == (3, 3)


class TestThreads:
    """Who counts."""

    def test_answers_that_the_lane_sends_count_as_all_others(self) -> None:
        """The run is the runner's, the answers are the lane's."""
        lane = HandLane()
        lost: list[Exception] = []
        model = Model(
            signature=signature(),
            sessions=(doubling(),),
            policy=policy(),
            budget=ByteBudget(10**6),
            info=info(runners=1),
            lane=lane,
            on_runner_lost=lost.append,
        )
        serving = Serving(model)
        for _ in range(3):
            serving.send(2)
        model.start()
        serving._intake.run_waiting()
        # The last thing that the runner does before it ends.
        assert model.drain(PATIENCE_S)
        assert snapshot(model).success.count == 0
        lane.work()
        now = serving.statistics
        assert (now.success.count, now.inference_count, now.execution_count, sizes(now)) == (3, 6, 1, {6: 1})
        assert parts_ns(now) == pytest.approx(now.success.ns, abs=10)

    def test_who_has_the_answer_finds_it_counted(self) -> None:
        """perf_analyzer reads the statistics when its last answer is there."""
        seen: list[tuple[int, int]] = []
        model = model_of(raising_at(7))

        class Asking(FakeCall):
            def reply(self, message: EncodedMessage) -> None:
                super().reply(message)
                seen.append((snapshot(model).success.count, snapshot(model).fail.count))

            def fail(self, error: Exception) -> None:
                super().fail(error)
                seen.append((snapshot(model).success.count, snapshot(model).fail.count))

        serving = Serving(model)
        serving.send(1, call=Asking())
        serving.run()
        serving.send(1, start=7, call=Asking())
        serving.run()
        assert seen == [(1, 0), (1, 1)]

    def test_runners_are_summed(self) -> None:
        """Whoever of them ran."""
        model = model_of(doubling(), runners=3)
        model.counters[0].closed("full")
        model.counters[2].closed("full")
        for index, counters in enumerate(model.counters[:3]):
            counters.ran(4, 2, input_s=0.001, infer_s=0.002, unix_s=1000.0 + index)
            counters.answered(2, arrived_s=0.0, began_s=0.5, ran_s=0.503, now_s=0.504, streamed=False)
        now = snapshot(model)
        assert now.last_inference_ms == 1_002_000
        assert (now.execution_count, now.inference_count, now.success) == (3, 6, Duration(count=3, ns=1_512_000_000))
        assert now.compute_infer == Duration(count=3, ns=12_000_000)
        assert (now.batches[0].count, now.batches[0].infer_ns) == (3, 6_000_000)
        assert reasons(now.closed_by) == {"full": 2}
        assert now.compute_s.total == pytest.approx(0.009)
        assert now.batch_rows.total == 12


def test_hits_of_the_cache_are_successes_without_a_run() -> None:
    """In the time of requests and of the queue, but not in that of the model."""
    model = model_of(doubling())
    counters: Counters = model.counters[0]
    counters.hit(0.5, 0.25, streamed=False)
    counters.missed(0.125)
    counters.ran(1, 1, input_s=0.25, infer_s=0.25, unix_s=1.0)
    counters.answered(1, arrived_s=0.0, began_s=0.5, ran_s=1.0, now_s=1.0, streamed=False)
    now = snapshot(model)
    assert_consistent(now)
    assert now.success == Duration(count=2, ns=1_500_000_000)
    assert now.queue == Duration(count=2, ns=750_000_000)
    assert (now.cache_hit, now.cache_miss) == (
        Duration(count=1, ns=250_000_000),
        Duration(count=1, ns=125_000_000),
    )
    assert (now.inference_count, now.execution_count) == (1, 1)


def test_every_version_that_is_ready_is_listed_in_order() -> None:
    """Those that load, drain or failed have done nothing that anybody could ask for."""
    registry = Registry()
    for name, version in (("b", 2), ("b", 10), ("a", 1)):
        publish(registry, model_of(doubling(), of=signature(version=version)), name=name, version=version)
    registry.set_version("b", VersionStatus(number=3, state=State.LOADING))
    registry.set_version("c", VersionStatus(number=1, state=State.FAILED, reason="broken"))
    assert [one.version for one in snapshots(registry)] == [1, 2, 10]
