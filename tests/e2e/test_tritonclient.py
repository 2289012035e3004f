"""tritonclient, unmodified, in this very process: sync and asyncio."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING, Any

import ml_dtypes  # comes with onnx
import numpy as np
import pytest

from sardonyx_wire.datatypes import DATATYPES
from tests.e2e.messages import gate_request
from tests.e2e.models import identity_name
from tests.e2e.servers import Server, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
aio: Any = pytest.importorskip("tritonclient.grpc.aio")
utilities: Any = pytest.importorskip("tritonclient.utils")


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """Its sync client."""
    with triton.InferenceServerClient(server.app.address) as connected:
        yield connected


def tensor(name: str, array: NDArray[Any], datatype: str) -> Any:
    """An input as its users make it."""
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def sample(datatype: str) -> NDArray[Any]:
    """[2,3] that its encoder takes."""
    if datatype == "BYTES":
        return np.array([[b"ab", "ü".encode(), b""], [b"c\0d", b"x" * 200, b"\n"]], object)
    if datatype == "BF16":
        return np.array([[1, -2, 0.5], [0, 256, -0.0078125]], ml_dtypes.bfloat16)
    return np.array([[0, 1, 2], [3, 1, 0]]).astype(DATATYPES[datatype].dtype)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_makes_the_round_trip(client: Any, datatype: str) -> None:
    """Its own encoding and decoding."""
    x = sample(datatype)
    result = client.infer(identity_name(datatype), [tensor("x", x, datatype)])
    got = result.as_numpy("y")
    assert got.tolist() == x.tolist()


def test_readiness_metadata_and_config(client: Any) -> None:
    """What its tools ask before they begin."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert client.is_model_ready("affine", "1")
    assert client.get_server_metadata().name == "sardonyx"
    metadata = client.get_model_metadata("affine", as_json=True)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]
    assert client.get_model_config("affine").config.max_batch_size == 8


def test_ids_versions_and_the_order_of_outputs(client: Any) -> None:
    """Echoed, filled in, kept."""
    ones = np.ones((1, 4), np.int32)
    result = client.infer(
        "add_sub",
        [tensor("a", ones, "INT32"), tensor("b", ones, "INT32")],
        outputs=[triton.InferRequestedOutput("difference"), triton.InferRequestedOutput("sum")],
        request_id="my id",
    )
    answer = result.get_response()
    assert (answer.id, answer.model_version) == ("my id", "1")
    assert [output.name for output in answer.outputs] == ["difference", "sum"]
    np.testing.assert_array_equal(result.as_numpy("sum"), 2 * ones)


def test_more_rows_than_the_maximum_come_back_in_order(client: Any) -> None:
    """20 rows, 8 at a time."""
    x = np.arange(80, dtype=np.float32).reshape(20, 4)
    result = client.infer("affine", [tensor("x", x, "FP32")])
    np.testing.assert_allclose(result.as_numpy("y")[:, 1], -2 * x[:, 1] + 0.25)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(client: Any, algorithm: str) -> None:
    """As its parameter names it."""
    x = np.zeros((8, 4), np.float32)
    plain = client.infer("affine", [tensor("x", x, "FP32")])
    squeezed = client.infer("affine", [tensor("x", x, "FP32")], compression_algorithm=algorithm)
    assert squeezed.get_response() == plain.get_response()


def test_a_client_timeout_is_a_deadline(server: Server, client: Any) -> None:
    """In seconds, beside its ``timeout`` in microseconds."""
    inputs = [
        tensor("x", np.ones((1, 2), np.float32), "FP32"),
        tensor("index", np.zeros((1, 1), np.int64), "INT64"),
        tensor("trips", np.zeros((1, 1), np.int64), "INT64"),
    ]
    with server.holding(gate_request()), pytest.raises(utilities.InferenceServerException) as caught:
        client.infer("gate", inputs, client_timeout=0.05)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    assert client.infer("gate", inputs, client_timeout=60.0, timeout=1_000_000, priority=1).as_numpy("y").shape == (
        1,
        2,
    )
    server.assert_well()


def test_errors_are_its_own(client: Any) -> None:
    """Status and text."""
    with pytest.raises(utilities.InferenceServerException) as caught:
        client.infer("nobody", [tensor("x", np.ones((1, 4), np.float32), "FP32")])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert caught.value.message().startswith("unknown model 'nobody'")


def test_its_threads_and_callbacks(client: Any) -> None:
    """``async_infer``."""
    x = np.ones((1, 4), np.float32)
    results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    for k in range(20):
        done = lambda result, error: results.put((result, error))  # noqa: E731  # the arguments' names are its own
        client.async_infer("affine", [tensor("x", k * x, "FP32")], callback=done, request_id=str(k))
    answers = [results.get(timeout=60) for _ in range(20)]
    assert {result.get_response().id for result, error in answers if error is None} == {str(k) for k in range(20)}


def test_its_asyncio_client(server: Server) -> None:
    """On grpc.aio, with strings and with an error."""

    async def converse() -> None:
        async with aio.InferenceServerClient(server.app.address) as client:
            assert await client.is_server_ready()
            x = sample("BYTES")
            one = aio.InferInput("x", [2, 3], "BYTES")
            one.set_data_from_numpy(x)
            results = await asyncio.gather(
                *(client.infer("identity_bytes", [one], request_id=str(k)) for k in range(9))
            )
            assert [result.get_response().id for result in results] == [str(k) for k in range(9)]
            assert all(result.as_numpy("y").tolist() == x.tolist() for result in results)
            with pytest.raises(utilities.InferenceServerException, match="unknown model 'nobody'"):
                await client.infer("nobody", [one])

    asyncio.run(converse())
    server.settle()


def test_its_clients_hear_at_once_that_a_queue_is_too_long(server: Server, client: Any) -> None:
    """Of a picture that they need not send; the next one is answered over the same connection."""
    rows = np.ones((8000, 2), np.float32)
    column = np.zeros((8000, 1), np.int64)
    inputs = [tensor("x", rows, "FP32"), tensor("index", column, "INT64"), tensor("trips", column, "INT64")]
    client.infer("gate", inputs)
    queue_of_gate = server.model("gate").queue
    with server.holding(gate_request()) as hold:
        waiting = server.start_infer(gate_request())
        eventually(lambda: queue_of_gate.rows == 1, "the request waits")
        queue_of_gate._service_rate.row_s = 100.0
        for _ in range(10):
            with pytest.raises(utilities.InferenceServerException, match="too long for the deadline") as caught:
                client.infer("gate", inputs, client_timeout=10.0)
            assert caught.value.status() == "StatusCode.UNAVAILABLE"
        hold.release()
        waiting.result()
    assert client.infer("gate", inputs).as_numpy("y").shape == (8000, 2)
