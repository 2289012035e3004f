"""ModelStatistics over the socket: each request counted once, whichever way it goes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from sardonyx_server.engine.statistics import snapshot
from sardonyx_wire.messages import ModelStatisticsRequest
from tests.e2e.messages import gate_request, infer_request
from tests.e2e.models import MAX_ROWS
from tests.e2e.servers import SHORT_S, TRANSPORTS, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sardonyx_wire.messages import ModelInferRequest, ModelStatistics

Figures = Counter[str]


@pytest.fixture(scope="module", params=TRANSPORTS)
def counting(request: pytest.FixtureRequest, models: Path) -> Iterator[Server]:
    """A server of its own: nobody else's requests count. In its queues 8 rows may wait."""
    only = ("affine", "gate", "mixes")
    with Server(
        models, request.param, model_control_mode="explicit", load_model=only, max_queue_rows_per_model=8
    ) as running:
        yield running


def statistics(server: Server, name: str, version: str = "") -> list[ModelStatistics]:
    """What the RPC tells."""
    return list(server.call("ModelStatistics", ModelStatisticsRequest(name=name, version=version)).model_stats)


def newest(server: Server, name: str) -> ModelStatistics:
    """Of the version that answers where none is named."""
    return statistics(server, name)[-1]


def assert_consistent(of: ModelStatistics) -> None:
    """Assert what holds for a version at rest that has no cache."""
    stats = of.inference_stats
    parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert {part.count for part in parts} == {stats.success.count}
    assert (stats.cache_hit.count, stats.cache_miss.count) == (0, 0)
    for batch in of.batch_stats:
        assert batch.compute_input.count == batch.compute_infer.count == batch.compute_output.count
    assert sum(batch.compute_infer.count for batch in of.batch_stats) == of.execution_count
    assert [batch.batch_size for batch in of.batch_stats] == sorted({batch.batch_size for batch in of.batch_stats})


def figures(server: Server, name: str) -> Figures:
    """Counts of a model by name, with those that only metrics tell: reasons of failures."""
    of = newest(server, name)
    assert_consistent(of)
    now = snapshot(server.model(name))
    return Counter(
        {
            "rows": of.inference_count,
            "runs": of.execution_count,
            "success": of.inference_stats.success.count,
            "fail": of.inference_stats.fail.count,
            **{f"runs of {batch.batch_size}": batch.compute_infer.count for batch in of.batch_stats},
            **now.failures,
            **now.rejections,
        }
    )


@contextmanager
def counted(server: Server, name: str, **expected: int) -> Iterator[None]:
    """Assert that the requests within are counted so, and in no other way. ``runs_of_3`` is runs of 3 rows."""
    before = figures(server, name)
    yield
    wanted = Counter({key.replace("runs_of_", "runs of "): count for key, count in expected.items()})
    eventually(lambda: figures(server, name)["fail"] - before["fail"] == wanted["fail"], "all failures are counted")
    assert figures(server, name) - before == wanted
    server.settle()


def affine(rows: int, **more: Any) -> ModelInferRequest:
    """A request to a model that is quick: inline on the lane."""
    return infer_request("affine", x=np.ones((rows, 4), np.float32), **more)


@pytest.mark.parametrize("rows", [1, 3, MAX_ROWS])
def test_a_request_that_runs_alone(counting: Server, rows: int) -> None:
    """One success, its rows, one run of their number."""
    with counted(counting, "affine", success=1, rows=rows, runs=1, **{f"runs_of_{rows}": 1}):
        counting.infer(affine(rows))


def test_requests_that_share_a_run(counting: Server) -> None:
    """Three wait behind one that runs: four successes in fewer runs, or as many where the load's verdict was so."""
    before = figures(counting, "gate")
    with counting.holding(gate_request()) as hold:
        calls = [counting.start_infer(gate_request(np.ones((rows, 2), np.float32))) for rows in (1, 2, 3)]
        eventually(lambda: counting.model("gate").pending_requests == 3, "three requests wait")
        hold.release()
        for call in calls:
            call.result()
    grown = figures(counting, "gate") - before
    sizes = {int(key.removeprefix("runs of ")): count for key, count in grown.items() if key.startswith("runs of ")}
    assert (grown["success"], grown["rows"], grown["fail"]) == (4, 7, 0)
    # In how many pieces a runner takes what waits is measured at load.
    assert 2 <= grown["runs"] == sum(sizes.values()) <= 4
    assert sum(size * count for size, count in sizes.items()) == 7
    counting.settle()


def test_a_request_that_is_split(counting: Server) -> None:
    """20 rows by 8: three runs, one success."""
    with counted(counting, "affine", success=1, rows=20, runs=3, runs_of_8=2, runs_of_4=1):
        counting.infer(affine(20))


def test_requests_that_never_join(counting: Server) -> None:
    """A model without a batch axis: each request is one inference, whatever its first dimension."""
    with counted(counting, "mixes", success=2, rows=2, runs=2, runs_of_1=2):
        for rows in (2, 5):
            counting.infer(infer_request("mixes", x=np.ones((rows, 3), np.float32)))


def test_a_request_that_fails_in_the_model(counting: Server) -> None:
    """No run that ended, no rows."""
    with counted(counting, "gate", fail=1, BACKEND=1):
        assert counting.refusal(gate_request(index=50)).code is grpc.StatusCode.INTERNAL


def test_the_guilty_one_of_a_batch(counting: Server) -> None:
    """It fails; the others ran singly."""
    with (
        counted(counting, "gate", success=3, fail=1, BACKEND=1, rows=3, runs=3, runs_of_1=3),
        counting.holding(gate_request()) as hold,
    ):
        calls = [counting.start_infer(gate_request(index=index)) for index in (0, 50, 1)]
        eventually(lambda: counting.model("gate").pending_requests == 3, "three requests wait")
        hold.release()
        calls[0].result()
        calls[2].result()
        with pytest.raises(grpc.RpcError):
            calls[1].result()


def test_a_split_request_with_a_guilty_part(counting: Server) -> None:
    """One failure, whatever became of its other parts."""
    index = np.zeros((20, 1), np.int64)
    index[12] = 50
    request = infer_request("gate", x=np.zeros((20, 2), np.float32), index=index, trips=np.zeros((20, 1), np.int64))
    with counted(counting, "gate", fail=1, BACKEND=1, runs=1, runs_of_8=1):
        counting.refusal(request)


def test_a_request_that_is_cancelled_in_the_queue(counting: Server) -> None:
    """Triton's CANCELED; the one that was held is the success."""
    with (
        counted(counting, "gate", success=1, rows=1, runs=1, runs_of_1=1, fail=1, CANCELED=1, cancelled=1),
        counting.holding(gate_request()) as hold,
    ):
        call = counting.start_infer(gate_request())
        queue = counting.model("gate").queue
        eventually(lambda: queue.requests == 1, "it waits")
        (job,) = [job for level in queue._pending.levels.values() for jobs in level.buckets.values() for job in jobs]
        call.cancel()
        eventually(lambda: bool(job.call.cancelled), "the server knows of the cancellation")
        hold.release()


def test_a_request_whose_deadline_passes_in_the_queue(counting: Server) -> None:
    """Triton's REJECTED."""
    with (
        counted(counting, "gate", success=1, rows=1, runs=1, runs_of_1=1, fail=1, REJECTED=1, deadline=1),
        counting.holding(gate_request()) as hold,
    ):
        call = counting.start_infer(gate_request(), timeout=SHORT_S)
        queue = counting.model("gate").queue
        eventually(lambda: queue.requests == 1, "it waits")
        (job,) = [job for level in queue._pending.levels.values() for jobs in level.buckets.values() for job in jobs]
        with pytest.raises(grpc.RpcError):
            call.result()
        eventually(lambda: time.monotonic() > job.deadline_s, "it has passed by the server's clock, too")
        hold.release()


def test_a_request_that_finds_the_queue_full(counting: Server) -> None:
    """Triton's REJECTED; those that waited are answered."""
    with (
        counted(
            counting, "gate", success=2, rows=9, runs=2, runs_of_1=1, runs_of_8=1, fail=1, REJECTED=1, queue_full=1
        ),
        counting.holding(gate_request()) as hold,
    ):
        waiting = counting.start_infer(gate_request(np.ones((8, 2), np.float32)))
        eventually(lambda: counting.model("gate").pending_requests == 1, "the queue is full")
        assert counting.refusal(gate_request()).code is grpc.StatusCode.UNAVAILABLE
        hold.release()
        waiting.result()


def test_a_request_that_is_wrong(counting: Server) -> None:
    """Of a model that is known: its failure."""
    with counted(counting, "affine", fail=1, OTHER=1, bad_request=1):
        assert counting.refusal(affine(0)).code is grpc.StatusCode.INVALID_ARGUMENT


def test_requests_that_name_no_model_are_counted_by_reason_only(counting: Server) -> None:
    """A caller must not choose what is counted under which name."""
    refusals = counting.app.registry.refusals
    before = Counter(refusals.counts().rejections)
    counting.refusal(infer_request("nobody"))
    counting.refusal(affine(1, version="99"))
    counting.refusal(affine(1, version="abc"))
    counting.refusal(b"\xff")
    assert Counter(refusals.counts().rejections) - before == {"not_found": 2, "bad_request": 2}


def test_who_has_the_answer_finds_it_counted(counting: Server) -> None:
    """No figure comes late: tools read the statistics right after their last answer."""
    before = newest(counting, "affine").inference_stats
    for sent in range(1, 101):
        counting.infer(affine(1))
        now = newest(counting, "affine").inference_stats
        assert now.success.count == now.queue.count == now.compute_infer.count == before.success.count + sent


def test_no_request_is_lost_or_counted_twice_under_load(counting: Server) -> None:
    """12 callers at once, good and bad, of a model that runs on the lane and of one with a runner, while one reads."""
    requests = (affine(1), affine(3), affine(20), affine(0), gate_request(), gate_request(index=50))
    names = ("affine", "gate")
    before = {name: figures(counting, name) for name in names}

    def caller(index: int) -> list[int]:
        outcomes = [0, 0, 0]
        for turn in range(40):
            kind = (index + turn) % len(requests)
            try:
                counting.infer(requests[kind])
                outcomes[0 if kind < 3 else 1] += 1
            except grpc.RpcError:
                outcomes[2] += 1
        return outcomes

    with ThreadPoolExecutor(12) as callers:
        running = [callers.submit(caller, index) for index in range(12)]
        seen = 0
        while not all(one.done() for one in running):
            now = newest(counting, "affine").inference_stats
            assert now.queue.count == now.compute_infer.count == now.success.count >= seen
            seen = now.success.count
        inline, waited, refused = map(sum, zip(*(one.result() for one in running), strict=True))
    counting.settle()
    after = {name: figures(counting, name) for name in names}
    assert inline + waited + refused == 12 * 40
    assert after["affine"]["success"] - before["affine"]["success"] == inline
    assert after["gate"]["success"] - before["gate"]["success"] == waited
    assert sum(after[name]["fail"] - before[name]["fail"] for name in names) == refused


def test_the_parts_of_the_time_are_the_whole(counting: Server) -> None:
    """Queue, gathering, run and answer leave no gap: what is left of a client's view is the network."""
    counting.infer(infer_request("mixes", x=np.ones((2, 3), np.float32)))
    stats = newest(counting, "mixes").inference_stats
    parts = sum(part.ns for part in (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output))
    assert abs(parts - stats.success.ns) < 10
    assert min(stats.queue.ns, stats.compute_input.ns, stats.compute_infer.ns, stats.compute_output.ns) > 0


def test_the_last_inference_is_told_in_unix_milliseconds(counting: Server) -> None:
    """Of a run, not of a refusal."""
    before_ms = int(time.time() * 1000)
    counting.infer(affine(1))
    ran_ms = newest(counting, "affine").last_inference
    assert before_ms <= ran_ms <= int(time.time() * 1000)
    counting.refusal(affine(0))
    assert newest(counting, "affine").last_inference == ran_ms


def test_versions_count_apart(counting: Server) -> None:
    """Each since its own load."""
    old, new = statistics(counting, "affine")
    counting.infer(affine(1, version="1"))
    assert [one.version for one in statistics(counting, "affine")] == ["1", "3"]
    (only,) = statistics(counting, "affine", "1")
    assert only.inference_stats.success.count == old.inference_stats.success.count + 1
    assert newest(counting, "affine").inference_stats == new.inference_stats


def test_all_models_are_listed_by_name_and_version(counting: Server) -> None:
    """Where none is named."""
    listed = [(one.name, one.version) for one in statistics(counting, "")]
    assert listed == [("affine", "1"), ("affine", "3"), ("gate", "1"), ("mixes", "1")]


def test_a_model_that_is_not_loaded_is_unavailable(counting: Server) -> None:
    """It is known, for the repository has it."""
    with pytest.raises(grpc.RpcError) as caught:
        statistics(counting, "add_sub")
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_tritonclient_reads_them(counting: Server) -> None:
    """As message and as JSON, sync and asyncio, one model and all."""
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
    aio: Any = pytest.importorskip("tritonclient.grpc.aio")
    counting.infer(affine(2))
    expected = newest(counting, "affine")
    with triton.InferenceServerClient(counting.app.address) as client:
        everything = client.get_inference_statistics()
        (one,) = client.get_inference_statistics("affine", "3").model_stats
        (as_json,) = client.get_inference_statistics("affine", "3", as_json=True)["model_stats"]
        with pytest.raises(Exception, match="unknown model 'nobody'"):
            client.get_inference_statistics("nobody")

    async def ask() -> Any:
        async with aio.InferenceServerClient(counting.app.address) as client:
            return await client.get_inference_statistics("affine")

    assert [one.version for one in asyncio.run(ask()).model_stats] == ["1", "3"]
    assert len(everything.model_stats) == 4
    assert (one.name, one.version, one.last_inference) == ("affine", "3", expected.last_inference)
    assert one.inference_stats.SerializeToString() == expected.inference_stats.SerializeToString()
    assert int(as_json["inference_stats"]["success"]["count"]) == expected.inference_stats.success.count
    assert int(as_json["batch_stats"][0]["batch_size"]) == expected.batch_stats[0].batch_size
