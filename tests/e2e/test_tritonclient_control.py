"""tritonclient, unmodified: its calls that list, load and unload models, sync and asyncio."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.e2e.control_models import WEIGHTS, external_bytes, put, scaling, scaling_outside
from tests.e2e.servers import TRANSPORTS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient needs protobuf 6")
aio: Any = pytest.importorskip("tritonclient.grpc.aio")
utilities: Any = pytest.importorskip("tritonclient.utils")


@pytest.fixture(params=TRANSPORTS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a server in explicit mode, with one model on disk."""
    put(tmp_path, "simple", 1, scaling(2), config="max_batch_size: 4")
    put(tmp_path, "other", 1, scaling(3))
    with Server(tmp_path, request.param, model_control_mode="explicit") as server:
        yield server.app.address


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    """Its sync client."""
    with triton.InferenceServerClient(address) as connected:
        yield connected


def factor(client: Any, model: str) -> float:
    """What the model multiplies with."""
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    return float(client.infer(model, [x]).as_numpy("y")[0, 0])


def test_its_own_example_of_model_control(client: Any) -> None:
    """Step by step as simple_grpc_model_control.py does it, and with its conditions."""
    assert [(row.name, row.version, row.state) for row in client.get_model_repository_index().models] == [
        ("other", "", ""),
        ("simple", "", ""),
    ]
    assert not client.is_model_ready("simple")
    client.load_model("simple")
    assert client.is_model_ready("simple")
    assert factor(client, "simple") == 2.0
    client.unload_model("simple")
    assert not client.is_model_ready("simple")
    with pytest.raises(utilities.InferenceServerException) as caught:
        client.load_model("wrong_model_name")
    assert "failed to load" in caught.value.message()
    index = client.get_model_repository_index(as_json=True)
    assert index["models"][1] == {"name": "simple", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
    assert "model_repository" in client.get_server_metadata().extensions


def test_a_config_of_its_own(client: Any) -> None:
    """Also the one that the server gave out: get_model_config, as JSON, is a config."""
    client.load_model("simple")
    given = client.get_model_config("simple", as_json=True)["config"]
    assert given["max_batch_size"] == 4
    client.load_model("simple", config=json.dumps(given))
    assert client.get_model_config("simple", as_json=True)["config"] == given
    client.load_model("simple", config='{"max_batch_size": 2}')
    assert client.get_model_config("simple").config.max_batch_size == 2
    client.load_model("simple")
    assert client.get_model_config("simple").config.max_batch_size == 4


def test_files_of_its_own(client: Any) -> None:
    """``file:`` parameters, in place of a folder on disk or where there is none."""
    client.load_model("simple", config='{"backend": "onnxruntime"}', files={"file:1/model.onnx": scaling(9)})
    assert factor(client, "simple") == 9.0
    client.load_model(
        "memory",
        config="{}",
        files={"file:3/model.onnx": scaling_outside(), f"file:3/{WEIGHTS}": external_bytes(5)},
    )
    assert factor(client, "memory") == 5.0
    assert client.is_model_ready("memory", "3")
    with pytest.raises(utilities.InferenceServerException, match="files came without a config") as caught:
        client.load_model("simple", files={"file:1/model.onnx": scaling(1)})
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    client.load_model("simple")
    assert factor(client, "simple") == 2.0
    client.unload_model("memory", unload_dependents=True)
    assert not client.is_model_ready("memory")


def test_a_client_timeout_is_a_deadline(client: Any) -> None:
    """In seconds, on the calls that load."""
    client.load_model("simple", client_timeout=60.0)
    client.unload_model("simple", client_timeout=60.0)
    with pytest.raises(utilities.InferenceServerException) as caught:
        client.load_model("simple", client_timeout=1e-6)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_its_asyncio_client(address: str) -> None:
    """The same calls on grpc.aio."""

    async def converse() -> None:
        async with aio.InferenceServerClient(address) as client:
            await asyncio.gather(client.load_model("simple"), client.load_model("other", config="{}"))
            index = await client.get_model_repository_index()
            assert [(row.name, row.state) for row in index.models] == [("other", "READY"), ("simple", "READY")]
            await client.unload_model("other", unload_dependents=True)
            assert not await client.is_model_ready("other")
            with pytest.raises(utilities.InferenceServerException, match="ModelConfig has no field 'max_batch'"):
                await client.load_model("simple", config='{"max_batch": 1}')
            assert await client.is_model_ready("simple")

    asyncio.run(converse())
