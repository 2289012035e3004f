"""Checks of what tritonclient's users call: health, metadata, inference, streams, and the client's own parts.

Starts nothing. Each leaves the server as it was. What goes wrong shows as an assertion or as tritonclient's own error.
"""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from tests.e2e.messages import gate_request
from tests.e2e.triton_conversations import ANSWER_TIMEOUT_S, ones

if TYPE_CHECKING:
    from tests.e2e.triton_conversations import Conversation

__all__ = [
    "callbacks",
    "close",
    "infer",
    "model_config",
    "model_metadata",
    "model_ready",
    "plugin",
    "server_live",
    "server_metadata",
    "server_ready",
    "stream",
]

AFFINE_OF_ONES: Final = [[1.1, -1.75, 3.6, 7.001]]


async def server_live(on: Conversation) -> None:
    """It answers."""
    assert await on.client.is_server_live()


async def server_ready(on: Conversation) -> None:
    """It takes requests."""
    assert await on.client.is_server_ready()


async def model_ready(on: Conversation) -> None:
    """Any version, and one of them."""
    assert await on.client.is_model_ready("affine")
    assert await on.client.is_model_ready("affine", "3")


async def server_metadata(on: Conversation) -> None:
    """Name and extensions."""
    metadata = await on.client.get_server_metadata(as_json=True)
    assert metadata["name"] == "sardonyx"
    assert "model_configuration" in metadata["extensions"]


async def model_metadata(on: Conversation) -> None:
    """Versions and the inputs with their batch axis."""
    metadata = await on.client.get_model_metadata("affine", as_json=True)
    assert metadata["versions"] == ["1", "3"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]


async def model_config(on: Conversation) -> None:
    """The one in force."""
    assert (await on.client.get_model_config("affine", "1")).config.max_batch_size == 8


async def infer(on: Conversation) -> None:
    """Every argument it has."""
    result = await on.client.infer(
        "affine",
        ones(on),
        model_version="3",
        outputs=[on.output("y")],
        request_id="my id",
        priority=1,
        timeout=10_000_000,
        client_timeout=ANSWER_TIMEOUT_S,
        headers={"x-user": "me"},
        compression_algorithm="gzip",
        parameters={"text": "a", "number": 1, "switch": True},
    )
    answer = result.get_response()
    assert (answer.id, answer.model_version) == ("my id", "3")
    np.testing.assert_allclose(result.as_numpy("y"), AFFINE_OF_ONES, rtol=1e-6)
    assert on.metadata[-1]["x-user"] == "me"


async def callbacks(on: Conversation) -> None:
    """Answers come to a callback; a cancelled call comes as an error."""
    results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    on.plain.async_infer("affine", ones(on), callback=lambda result, error: results.put((result, error)))
    result, error = await asyncio.to_thread(results.get, timeout=ANSWER_TIMEOUT_S)
    assert error is None
    np.testing.assert_allclose(result.as_numpy("y"), AFFINE_OF_ONES, rtol=1e-6)
    with on.server.holding(gate_request()):
        call = on.plain.async_infer(
            "gate", on.gate_inputs(), callback=lambda result, error: results.put((result, error))
        )
        call.cancel()
        result, error = await asyncio.to_thread(results.get, timeout=ANSWER_TIMEOUT_S)
    assert result is None
    assert error.status() == "StatusCode.CANCELLED"


async def stream(on: Conversation) -> None:
    """Answers in the order of the requests, and the stream goes on after an error of one of them."""
    good = [{"model_name": "affine", "inputs": ones(on), "request_id": str(index)} for index in range(20)]
    bad = {"model_name": "nobody", "inputs": ones(on), "request_id": "bad"}
    answers = await on.stream([*good[:10], bad, *good[10:]])
    assert [result.get_response().id for result, error in answers if error is None] == [str(k) for k in range(20)]
    (error,) = (error for _, error in answers if error is not None)
    assert "unknown model 'nobody'" in error.message()
    for result, _ in answers[:10]:
        np.testing.assert_allclose(result.as_numpy("y"), AFFINE_OF_ONES, rtol=1e-6)


async def plugin(on: Conversation) -> None:
    """What a plugin adds reaches the server, until it is taken off."""
    from tritonclient._plugin import InferenceServerClientPlugin

    class Header(InferenceServerClientPlugin):  # type: ignore[misc]  # it has no types
        def __call__(self, request: Any) -> None:
            request.headers["x-plugin"] = "here"

    mine = Header()
    on.plain.register_plugin(mine)
    assert on.plain.plugin() is mine
    await on.client.is_server_live()
    assert on.metadata[-1]["x-plugin"] == "here"
    on.plain.unregister_plugin()
    await on.client.is_server_live()
    assert "x-plugin" not in on.metadata[-1]


async def close(on: Conversation) -> None:
    """The server is not asked any more."""
    await on.client.is_server_live()
    seen = len(on.metadata)
    await on.client.close()
    with pytest.raises(Exception, match=r"(?i)closed|shutdown"):
        await on.client.is_server_live()
    assert len(on.metadata) == seen
