"""tritonclient's streams and compression, unmodified: sync and asyncio."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.e2e.messages import gate_request
from tests.e2e.servers import SHORT_S, Server, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
aio: Any = pytest.importorskip("tritonclient.grpc.aio")
utilities: Any = pytest.importorskip("tritonclient.utils")

BOUND_S = 60.0


class Answers:
    """What its callback gets."""

    def __init__(self) -> None:
        self._got: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()

    def __call__(self, result: Any, error: Any) -> None:
        """As it calls: one of the two is None."""
        self._got.put((result, error))

    def next(self) -> tuple[Any, Any]:
        """The next one; waits for it."""
        return self._got.get(timeout=BOUND_S)


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """Its sync client; nothing stays open behind it."""
    with triton.InferenceServerClient(server.app.address) as connected:
        yield connected
    server.settle()


def rows(kind: Any = triton, *, count: int = 1, value: float = 1.0) -> list[Any]:
    """Inputs of ``affine``."""
    made = kind.InferInput("x", [count, 4], "FP32")
    made.set_data_from_numpy(np.full((count, 4), value, np.float32))
    return [made]


def gate_rows() -> list[Any]:
    """Inputs of ``gate``."""
    inputs = [triton.InferInput("x", [1, 2], "FP32")]
    inputs[0].set_data_from_numpy(np.ones((1, 2), np.float32))
    for name in ("index", "trips"):
        inputs.append(triton.InferInput(name, [1, 1], "INT64"))
        inputs[-1].set_data_from_numpy(np.zeros((1, 1), np.int64))
    return inputs


def test_answers_come_in_order_with_the_ids(client: Any) -> None:
    """100 requests to two models, each marked final."""
    answers = Answers()
    client.start_stream(answers)
    for k in range(100):
        if k % 2:
            client.async_stream_infer("gate", gate_rows(), request_id=str(k))
        else:
            client.async_stream_infer("affine", rows(count=k % 20 + 1), request_id=str(k))
    for k in range(100):
        result, error = answers.next()
        assert error is None
        response = result.get_response()
        assert response.id == str(k)
        assert response.parameters["triton_final_response"].bool_param
        assert result.as_numpy("y").shape == ((1, 2) if k % 2 else (k % 20 + 1, 4))
    client.stop_stream()


def test_an_error_comes_to_the_callback_and_the_stream_goes_on(client: Any) -> None:
    """With the text; then the next answer."""
    answers = Answers()
    client.start_stream(answers)
    client.async_stream_infer("nobody", rows(), request_id="bad")
    client.async_stream_infer("affine", rows(), request_id="good", enable_empty_final_response=True)
    result, error = answers.next()
    assert result is None
    assert error.message().startswith("unknown model 'nobody'")
    result, error = answers.next()
    assert error is None
    assert result.get_response().id == "good"
    client.stop_stream()


def test_an_error_ends_the_stream_where_the_caller_asks_for_statuses(client: Any) -> None:
    """``triton_grpc_error``; a new stream can be started afterwards."""
    answers = Answers()
    client.start_stream(answers, headers={"triton_grpc_error": "true"})
    client.async_stream_infer("nobody", rows())
    result, error = answers.next()
    assert result is None
    assert error.status() == "StatusCode.NOT_FOUND"
    assert error.message().startswith("unknown model 'nobody'")
    client.stop_stream()
    client.start_stream(answers)
    client.async_stream_infer("affine", rows())
    assert answers.next()[1] is None
    client.stop_stream()


def test_a_stream_may_be_stopped_without_waiting(server: Server, client: Any) -> None:
    """``cancel_requests``: what waits does not run."""
    answers = Answers()
    with server.holding(gate_request()) as hold:
        client.start_stream(answers)
        for _ in range(4):
            client.async_stream_infer("gate", gate_rows())
        eventually(lambda: server.model("gate").queue.rows == 4, "four wait")
        before = sum(one.rows for one in server.counters("gate"))
        client.stop_stream(cancel_requests=True)
        jobs = [
            job
            for level in server.model("gate").queue._pending.levels.values()
            for jobs in level.buckets.values()
            for job in jobs
        ]
        eventually(lambda: all(job.call.cancelled for job in jobs), "the server knows")
        hold.release()
    server.settle()
    assert sum(one.rows for one in server.counters("gate")) == before + 1


def test_a_stream_timeout_is_a_deadline(server: Server, client: Any) -> None:
    """For the stream as a whole, in seconds."""
    answers = Answers()
    with server.holding(gate_request()):
        client.start_stream(answers, stream_timeout=SHORT_S)
        client.async_stream_infer("gate", gate_rows())
        _, error = answers.next()
        assert error.status() == "StatusCode.DEADLINE_EXCEEDED"
        client.stop_stream()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_stream(client: Any, algorithm: str) -> None:
    """``compression_algorithm``."""
    answers = Answers()
    client.start_stream(answers, compression_algorithm=algorithm)
    plain = client.infer("affine", rows(count=8)).as_numpy("y")
    for _ in range(10):
        client.async_stream_infer("affine", rows(count=8))
    for _ in range(10):
        result, error = answers.next()
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("y"), plain)
    client.stop_stream()


def test_its_asyncio_client(server: Server) -> None:
    """``stream_infer`` over a generator of requests."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for k in range(20):
            name = "nobody" if k == 7 else "affine"
            yield {"model_name": name, "inputs": rows(aio, count=k + 1, value=k), "request_id": str(k)}

    async def converse() -> None:
        async with aio.InferenceServerClient(server.app.address) as client:
            number = 0
            async for result, error in client.stream_infer(requests()):
                if number == 7:
                    assert error.message().startswith("unknown model 'nobody'")
                else:
                    assert error is None
                    assert result.get_response().id == str(number)
                    assert result.as_numpy("y").shape == (number + 1, 4)
                number += 1
            assert number == 20

    asyncio.run(converse())
    server.settle()
