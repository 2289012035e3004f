"""The response cache over a socket: equal requests cost one run, and nobody gets another's answer."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from sardonyx_server.engine.models.states import State
from sardonyx_server.engine.statistics import snapshot
from sardonyx_wire.messages import ModelConfigRequest, ModelInferResponse, ModelStatisticsRequest
from tests.e2e.messages import arrays_of, infer_request
from tests.e2e.models import Folder, repository, write
from tests.e2e.servers import CALL_TIMEOUT_S, SHORT_S, TRANSPORTS, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sardonyx_server.engine.statistics import VersionStatistics
    from sardonyx_wire.messages import ModelInferRequest

_CACHED = """
max_batch_size: 4
response_cache { enable: true }
"""
_ONE_RUNNER = """
instance_group { kind: KIND_CPU count: 1 }
dynamic_batching { priority_levels: 2 default_priority_level: 1 }
"""


def times(factor: float) -> bytes:
    """A model of y = factor * x, FP32 [N,2]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def write_models(path: Path) -> Path:
    """A model that runs inline, one with a runner, one without a cache, and the golden one."""
    write(
        [
            Folder(name="quick", data=times(2), config=_CACHED),
            Folder(name="slow", data=times(2), config=_CACHED + _ONE_RUNNER),
            Folder(name="uncached", data=times(2), config="max_batch_size: 4"),
            *(folder for folder in repository() if folder.name == "affine"),
        ],
        path,
    )
    return path


@pytest.fixture(scope="module", params=TRANSPORTS)
def cached(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these models."""
    with Server(write_models(tmp_path_factory.mktemp("cached")), request.param) as running:
        yield running


def row(number: float, model: str, rows: int = 1, **more: Any) -> ModelInferRequest:
    """A request that says in each of its rows which one it is."""
    return infer_request(model, x=np.full((rows, 2), number, np.float32), **more)


def counted(server: Server, model: str) -> VersionStatistics:
    """The statistics of a model."""
    return snapshot(server.model(model))


def begin_behind(server: Server, request: ModelInferRequest, count: int, **more: Any) -> list[Any]:
    """Begin equal calls, each when the one before it has been taken in."""
    calls = []
    for number in range(count):
        request.id = str(number)
        calls.append(server.start_infer(request, **more))
        eventually(lambda number=number: waiting(server, request.model_name) > number, "it waits")  # type: ignore[misc]
    return calls


def followers(server: Server, model: str) -> int:
    """Requests that wait for an equal one."""
    cache: Any = server.model(model)._cache
    with cache._lock:
        return sum(len(leader.followers) for leader in cache._leaders.values())


def waiting(server: Server, model: str) -> int:
    """Requests that wait, for the model or for an equal one."""
    return server.model(model).pending_requests + followers(server, model)


@pytest.mark.parametrize("model", ["quick", "slow"])
def test_an_equal_request_is_answered_without_a_run(cached: Server, model: str) -> None:
    """The same bytes, with its own id; it counts as a hit and as a success, not as an inference."""
    before = counted(cached, model)
    first = cached.infer(row(5, model, rows=3, request_id="first"))
    second = cached.infer(row(5, model, rows=3, request_id="second"))
    assert (first.id, second.id) == ("first", "second")
    second.id = first.id
    assert second == first
    after = counted(cached, model)
    assert after.execution_count - before.execution_count == 1
    assert after.inference_count - before.inference_count == 3
    assert after.success.count - before.success.count == 2
    assert after.cache_hit.count - before.cache_hit.count == 1
    assert after.cache_miss.count - before.cache_miss.count == 1
    cached.assert_well()


def test_statistics_and_config_show_the_cache(cached: Server) -> None:
    """Over the wire; the repository has no warning about the field."""
    for _ in range(2):
        cached.infer(row(6, "quick"))
    (found,) = cached.call("ModelStatistics", ModelStatisticsRequest(name="quick")).model_stats
    assert found.inference_stats.cache_hit.count >= 1
    assert found.inference_stats.cache_miss.count >= 1
    assert found.inference_stats.cache_hit.ns > 0
    assert cached.call("ModelConfig", ModelConfigRequest(name="quick")).config.response_cache.enable
    assert cached.app._desired_models.scan()["quick"].warnings == ()  # type: ignore[union-attr]


def test_a_model_that_does_not_ask_for_it_has_no_cache(cached: Server) -> None:
    """Each request runs."""
    before = counted(cached, "uncached").execution_count
    for _ in range(3):
        cached.infer(row(5, "uncached"))
    assert counted(cached, "uncached").execution_count == before + 3


def test_equal_requests_that_wait_together_run_once(cached: Server) -> None:
    """Each gets its own id; another one in between has its own run."""
    with cached.holding(row(100, "slow"), model="slow") as hold:
        before = counted(cached, "slow").execution_count
        calls = begin_behind(cached, row(7, "slow"), 5)
        other = cached.start_infer(row(8, "slow"))
        eventually(lambda: cached.model("slow").queue.rows == 2, "two requests are in the queue")
        hold.release()
        answers = [ModelInferResponse.FromString(call.result()) for call in calls]
        assert arrays_of(ModelInferResponse.FromString(other.result()))["y"].tolist() == [[16, 16]]
    assert [answer.id for answer in answers] == [str(number) for number in range(5)]
    assert all(arrays_of(answer)["y"].tolist() == [[14, 14]] for answer in answers)
    # The one that was held, and those for two rows.
    runs = 1 + cached.runs_of("slow", 2)
    eventually(lambda: counted(cached, "slow").execution_count == before + runs, "no more runs than it takes")
    cached.assert_well()


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_those_behind_a_caller_that_goes_away_are_answered(cached: Server, how: str) -> None:
    """The first of the equal requests is dropped in the queue; the next takes its place."""
    number = 20.0 if how == "cancel" else 21.0
    with cached.holding(row(number + 100, "slow"), model="slow") as hold:
        first = begin_behind(cached, row(number, "slow"), 1, timeout=SHORT_S if how == "deadline" else CALL_TIMEOUT_S)[
            0
        ]
        behind = [cached.start_infer(row(number, "slow", request_id=f"behind {k}")) for k in range(3)]
        eventually(lambda: followers(cached, "slow") == 3, "three wait for the first")
        if how == "cancel":
            first.cancel()
        eventually(first.done, "the first is over")
        cache: Any = cached.model("slow")._cache
        (leader,) = (leader for leader in cache._leaders.values() if leader.followers)
        if how == "cancel":
            eventually(lambda: leader.call.cancelled, "the server knows of the cancellation")
        hold.release()
        answers = [ModelInferResponse.FromString(call.result()) for call in behind]
    assert [answer.id for answer in answers] == ["behind 0", "behind 1", "behind 2"]
    assert all(arrays_of(answer)["y"].tolist() == [[2 * number] * 2] for answer in answers)
    assert first.code() is (grpc.StatusCode.CANCELLED if how == "cancel" else grpc.StatusCode.DEADLINE_EXCEEDED)
    cached.assert_well()


def test_a_failure_is_not_kept(cached: Server) -> None:
    """The next equal request runs, and is answered."""
    cached.gate.fail("slow", RuntimeError("out of luck"))
    assert cached.refusal(row(30, "slow")).code is grpc.StatusCode.INTERNAL
    assert arrays_of(cached.infer(row(30, "slow")))["y"].tolist() == [[60, 60]]
    cached.assert_well()


def test_a_request_larger_than_a_batch_is_kept_as_a_whole(cached: Server) -> None:
    """Three runs the first time, none the second."""
    request = infer_request("slow", x=np.arange(20, dtype=np.float32).reshape(10, 2))
    first = cached.infer(request)
    before = counted(cached, "slow").execution_count
    assert cached.infer(request) == first
    assert counted(cached, "slow").execution_count == before
    assert arrays_of(first)["y"].tolist() == (np.arange(20).reshape(10, 2) * 2).tolist()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_replaced_file_is_not_answered_for_by_the_old_one(tmp_path: Path, transport: str) -> None:
    """The same model and version number, another file: from the swap on every answer is the new one's."""
    path = write_models(tmp_path / "models")
    only: dict[str, Any] = {"model_control_mode": "poll", "repository_poll_secs": 0.1}
    with Server(path, transport, **only) as server:
        for _ in range(2):
            assert arrays_of(server.infer(row(1, "quick")))["y"].tolist() == [[2, 2]]
        old = server.model("quick")
        file = path / "quick" / "1" / "model.onnx"
        new = file.with_suffix(".new")
        new.write_bytes(times(3))
        new.replace(file)
        eventually(lambda: server.model("quick") is not old, "the new file is served")
        for _ in range(3):
            assert arrays_of(server.infer(row(1, "quick")))["y"].tolist() == [[3, 3]]
        kept = server.app._loader._response_cache
        assert kept is not None
        eventually(lambda: len(kept) == 1, "what the old version kept is gone")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_answer_is_that_of_the_version_it_names(tmp_path: Path, transport: str) -> None:
    """Four callers ask the same few things while versions come and go: none is lost, none gets another's answer."""
    path = write_models(tmp_path / "models")
    only: dict[str, Any] = {"model_control_mode": "poll", "repository_poll_secs": 0.1}
    stop = threading.Event()
    seen: list[tuple[float, str, list[float]]] = []
    failures: list[grpc.RpcError] = []

    def ask(worker: int) -> None:
        for number in itertools.cycle(range(3)):
            if stop.is_set():
                return
            try:
                answer = server.infer(row(number + 1, "slow" if worker % 2 else "quick"))
            except grpc.RpcError as error:
                failures.append(error)
                return
            seen.append((number + 1, answer.model_version, arrays_of(answer)["y"][0].tolist()))

    with Server(path, transport, **only) as server:
        threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        try:
            for version in (2, 3):
                for name in ("quick", "slow"):
                    folder = path / name / str(version)
                    folder.mkdir()
                    (folder / "model.onnx").write_bytes(times(2 * version))
                    eventually(
                        lambda name=name, version=version: server.model(name).version == version,  # type: ignore[misc]
                        f"version {version} of {name} is served",
                    )
        finally:
            stop.set()
            for thread in threads:
                thread.join(CALL_TIMEOUT_S)
        server.settle()
    assert not failures
    assert len({named for _, named, _ in seen}) > 1
    for number, named, y in seen:
        assert y == [2 * int(named) * number] * 2


def test_with_the_cache_off_a_warning_says_so(tmp_path: Path) -> None:
    """The model is served all the same, each request by a run."""
    with Server(write_models(tmp_path), "lane", cache_bytes=None) as server:
        model = server.model("quick")
        assert model.info.warnings == (
            "response_cache has no effect: the server keeps no responses, for cache_bytes is off",
        )
        for _ in range(2):
            server.infer(row(1, "quick"))
        assert snapshot(model).execution_count == 2
        assert server.app.registry.entries()["quick"].versions[1].state is State.READY


def test_what_is_kept_stays_within_the_bound(tmp_path: Path) -> None:
    """A thousand different requests; the last ones are kept."""
    with Server(write_models(tmp_path), "lane", cache_bytes=16 * 1024) as server:
        kept = server.app._loader._response_cache
        assert kept is not None
        for number in range(1000):
            server.infer(row(number, "quick"))
            assert kept.used_bytes <= 16 * 1024
        assert 0 < len(kept) < 32
        before = snapshot(server.model("quick")).execution_count
        server.infer(row(999, "quick"))
        assert snapshot(server.model("quick")).execution_count == before
